"""A stand-in for the Hugging Face Hub: its HTTP protocol for repositories of models, on this machine."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock
from urllib.parse import unquote, urlsplit

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.utils import close_session
from transformers.utils import hub

TOKEN = "hf_stand_in"
USER = "someone"
#: Files with these endings are uploaded as large files.
LARGE = (".safetensors", ".bin", ".pt", ".png")


@dataclass
class Commit:
    """A commit: its message, and the files of its whole tree."""

    oid: str
    message: str
    files: dict[str, bytes]


@dataclass
class Repository:
    """A repository: its branches, each with its commits, oldest first."""

    private: bool
    gated: bool = False
    branches: dict[str, list[Commit]] = field(default_factory=dict)

    def commit(self, branch, message, files):
        """Adds a commit with all files of the branch's next state."""
        oid = hashlib.sha1(f"{branch} {len(self.branches.get(branch, []))} {message}".encode()).hexdigest()
        self.branches.setdefault(branch, []).append(Commit(oid, message, files))
        return oid

    def find(self, revision):
        """The last commit of a branch, or the commit with an id."""
        if revision in self.branches:
            return self.branches[revision][-1]
        return next((one for branch in self.branches.values() for one in branch if one.oid == revision), None)


class HubServer:
    """
    The stand-in, which serves until it is closed.

    Attributes:
        endpoint (`str`): Its address.
        repositories (`dict[str, Repository]`): By id.
        requests (`list[str]`): `METHOD path` of every request.
        failing (`str`, *optional*): A pattern of `METHOD path`; requests that match it get the status `status`.
        status (`int`): The status of failing requests; 0 closes the connection without an answer.
        refused (`set[str]`): Owners in whose name nobody may create a repository.
    """

    def __init__(self):
        self.repositories, self.large, self.requests = {}, {}, []
        self.failing, self.status, self.refused = None, 500, {"others"}
        self.before_commit = threading.Event()
        self.before_commit.set()
        server = self

        class Handler(_Handler):
            hub = server

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def add(self, name, files=(), private=False, gated=False):
        """Adds a repository with files, as a user would have made it before."""
        repository = self.repositories[name] = Repository(private, gated)
        repository.commit("main", "initial commit", {".gitattributes": b"", **dict(files)})
        return repository

    def files(self, name, branch="main"):
        """The files of a branch, by path."""
        return self.repositories[name].branches[branch][-1].files

    def messages(self, name, branch="main"):
        """The messages of a branch's commits, without the first."""
        return [commit.message for commit in self.repositories[name].branches[branch][1:]]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    ROUTES = (
        ("POST", r"/api/validate-yaml", "validate"),
        ("GET", r"/api/whoami-v2", "whoami"),
        ("POST", r"/api/repos/create", "create"),
        ("POST", r"/api/models/(?P<name>.+?)/preupload/(?P<revision>[^/]+)", "preupload"),
        ("POST", r"/api/models/(?P<name>.+?)/commit/(?P<revision>[^/]+)", "commit"),
        ("POST", r"/api/models/(?P<name>.+?)/branch/(?P<revision>[^/]+)", "branch"),
        ("GET", r"/api/models/(?P<name>.+?)/tree/(?P<revision>[^/]+)(/(?P<path>.+))?", "tree"),
        ("GET", r"/api/models/(?P<name>.+?)/auth-check/write", "may_write"),
        ("GET", r"/api/models/(?P<name>.+?)(/revision/(?P<revision>[^/]+))?", "info"),
        ("POST", r"/(?P<name>.+?)\.git/info/lfs/objects/batch", "batch"),
        ("PUT", r"/_large/(?P<oid>\w+)", "upload"),
        ("(?:GET|HEAD)", r"/(?P<name>[^/]+(/[^/]+)?)/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
    )

    def log_message(self, *args):
        pass

    def handle_any(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        path, method = urlsplit(self.path).path, self.command
        self.hub.requests.append(f"{method} {path}")
        if self.hub.failing and re.search(self.hub.failing, f"{method} {path}"):
            if self.hub.status == 0:
                self.close_connection = True
                return
            self.answer({"error": "the stand-in fails"}, self.hub.status)
            return
        for wanted, pattern, name in self.ROUTES:
            found = re.fullmatch(wanted, method) and re.fullmatch(pattern, path)
            if found:
                given = {key: unquote(value) if value else value for key, value in found.groupdict().items()}
                getattr(self, f"do_{name}")(**given)
                return
        self.answer({"error": f"no such route: {method} {path}"}, 404)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815

    def answer(self, content, status=200, code=None, headers=()):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        if code is not None:
            self.send_header("X-Error-Code", code)
        if status >= 400 and isinstance(content, dict):
            self.send_header("X-Error-Message", content["error"])
        for name, value in {"Content-Length": str(len(body)), **dict(headers)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    @property
    def token(self):
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def is_user(self):
        """Whether the token is the user's; answers if it is not."""
        if self.token != TOKEN:
            self.answer({"error": "Invalid username or password."}, 401)
        return self.token == TOKEN

    def found(self, name, revision="main"):
        """A repository that the user may see, and its commit; answers if there is none."""
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and self.token != TOKEN):
            if self.token and self.token != TOKEN:
                self.answer({"error": "Invalid username or password."}, 401)
            else:
                self.answer({"error": "Repository not found"}, 404 if self.token else 401, "RepoNotFound")
        elif (commit := repository.find(revision or "main")) is None:
            self.answer({"error": f"Invalid rev id: {revision}"}, 404, "RevisionNotFound")
        else:
            return repository, commit
        return None

    # ---- Routes

    def do_validate(self):
        self.answer({"errors": [], "warnings": []})

    def do_whoami(self):
        if self.is_user():
            self.answer({"type": "user", "name": USER, "orgs": [], "auth": {"accessToken": {"role": "write"}}})

    def do_create(self):
        if not self.is_user():
            return
        asked = json.loads(self.body)
        owner = asked.get("organization") or USER
        name = f"{owner}/{asked['name']}"
        if owner in self.hub.refused:
            message = f'You don\'t have the rights to create a model under the namespace "{owner}"'
            self.answer({"error": message}, 403)
        elif name in self.hub.repositories:
            url = f"{self.hub.endpoint}/{name}"
            self.answer({"error": "You already created this model repo", "url": url}, 409)
        else:
            self.hub.add(name, private=asked.get("visibility") == "private" or bool(asked.get("private")))
            self.answer({"url": f"{self.hub.endpoint}/{name}", "name": name})

    def do_may_write(self, name):
        if self.is_user() and self.found(name):
            if name.split("/")[0] in self.hub.refused:
                self.answer({"error": "You don't have write access to this repository"}, 403)
            else:
                self.answer({})

    def do_branch(self, name, revision):
        if self.is_user() and (found := self.found(name, json.loads(self.body or b"{}").get("startingPoint"))):
            repository, commit = found
            if revision in repository.branches:
                self.answer({"error": "Reference already exists"}, 409)
            else:
                repository.branches[revision] = [commit]
                self.answer({})

    def do_preupload(self, name, revision):
        if self.is_user() and (found := self.found(name, revision)):
            files = []
            for one in json.loads(self.body)["files"]:
                mode = "lfs" if one["path"].endswith(LARGE) else "regular"
                old = found[1].files.get(one["path"])
                oid = None if old is None else (hashlib.sha256(old).hexdigest() if mode == "lfs" else _blob_id(old))
                files.append({"path": one["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
            self.answer({"files": files})

    def do_batch(self, name):
        if self.is_user() and self.found(name):
            objects = []
            for one in json.loads(self.body)["objects"]:
                actions = {"upload": {"href": f"{self.hub.endpoint}/_large/{one['oid']}", "header": {}}}
                is_there = one["oid"] in self.hub.large
                objects.append({**one, **({} if is_there else {"actions": actions})})
            self.answer({"transfer": "basic", "objects": objects})

    def do_upload(self, oid):
        if hashlib.sha256(self.body).hexdigest() != oid:
            self.answer({"error": "the content does not have this hash"}, 400)
            return
        self.hub.large[oid] = self.body
        self.answer({})

    def do_commit(self, name, revision):
        self.hub.before_commit.wait(30)
        if not (self.is_user() and (found := self.found(name, revision))):
            return
        repository, commit = found
        files, message = dict(commit.files), ""
        for line in self.body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            match entry["key"]:
                case "header":
                    message = value["summary"]
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.hub.large[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
                case "deletedFolder":
                    files = {path: data for path, data in files.items() if not path.startswith(value["path"])}
        oid = repository.commit(revision, message, files)
        self.answer({"success": True, "commitOid": oid, "commitUrl": f"{self.hub.endpoint}/{name}/commit/{oid}"})

    def do_info(self, name, revision=None):
        if found := self.found(name, revision):
            repository, commit = found
            siblings = [{"rfilename": path} for path in commit.files]
            facts = {"id": name, "modelId": name, "private": repository.private, "gated": repository.gated}
            self.answer({**facts, "sha": commit.oid, "siblings": siblings, "tags": [], "downloads": 0, "likes": 0})

    def do_tree(self, name, revision, path=None):
        if found := self.found(name, revision):
            entries = []
            for file, data in found[1].files.items():
                if path is None or file.startswith(f"{path}/"):
                    entries.append({"type": "file", "path": file, "size": len(data), "oid": _blob_id(data)})
                    if file.endswith(LARGE):
                        oid = hashlib.sha256(data).hexdigest()
                        entries[-1]["lfs"] = {"oid": oid, "size": len(data), "pointerSize": 130}
            self.answer(entries)

    def do_resolve(self, name, revision, path):
        if not (found := self.found(name, revision)):
            return
        repository, commit = found
        headers = {"X-Repo-Commit": commit.oid}
        if repository.gated:
            message = f"Access to model {name} is restricted. You must have access to it and be authenticated."
            self.answer({"error": message}, 403 if self.token else 401, "GatedRepo", headers)
        elif path not in commit.files:
            self.answer({"error": "Entry not found"}, 404, "EntryNotFound", headers)
        else:
            data = commit.files[path]
            self.answer(data, headers=headers | {"ETag": f'"{hashlib.sha256(data).hexdigest()}"'})


def _blob_id(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def hub_at(endpoint, cache, token=TOKEN):
    """
    Lets this process work with a Hub at an address: what `HF_ENDPOINT` and the like do, which are read at import.

    Args:
        endpoint (`str`): The address.
        cache (`Path`): Folder of its downloads.
        token (`str`, *optional*): The user's token, as `hf auth login` would store it. `None` for none.
    """
    cache.mkdir(exist_ok=True)
    token_file = cache / "token"
    token_file.write_text(token or "", encoding="utf-8")
    values = {
        "ENDPOINT": endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_CACHE": str(cache),
        "HF_TOKEN_PATH": str(token_file),
        "HF_HUB_DISABLE_TELEMETRY": True,
    }
    with (
        mock.patch.multiple(constants, **values),
        mock.patch.object(hub, "_hf_api", None),
        mock.patch.object(huggingface_hub.hf_api.api, "endpoint", endpoint),
    ):
        close_session()
        try:
            yield
        finally:
            close_session()
