"""How every room writes files: completely or not at all, and tables in Markdown. This room knows no other."""
