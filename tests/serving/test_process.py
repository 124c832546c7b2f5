"""`recsys-lora serve` as a process: it starts, answers, and ends well when it is told to."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from recsys_lora.cli.serve import Settings, main
from recsys_lora.cli.settings import read
from recsys_lora.serving.server import serve
from recsys_lora.utils.errors import UserError

LINE = [sys.executable, "-m", "recsys_lora", "serve"]


def ask(url, body, **headers):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


@pytest.mark.slow
@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_it_starts_answers_and_ends_well(runs, cora, tmp_path, told):
    (tmp_path / "token").write_text("sesame\n")
    variables = {**os.environ, "PYTHONUNBUFFERED": "1"}
    line = [*LINE, f"run={runs('cora')}", "port=0", f"token_file={tmp_path / 'token'}", "window_ms=300"]
    server = subprocess.Popen(line, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        url = re.match(r"http://127\.0\.0\.1:\d+/", server.stdout.readline()).group()
        body = {"users": ["u1"], "k": 2, "retrieve": 8}
        rows = ask(f"{url}recommend", body, Authorization="Bearer sesame")["rows"]
        assert [row["item"] for row in rows] == cora.recommend("u1", k=2, retrieve=8)["item"].to_list()
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask(f"{url}recommend", body)
        with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1][:-1])), 30) as waiting:
            text = json.dumps(body)
            head = ["POST /recommend HTTP/1.1", "Host: x", "Authorization: Bearer sesame"]
            head += ["Content-Type: application/json", f"Content-Length: {len(text)}", "", text]
            waiting.sendall("\r\n".join(head).encode())
            wait_for_a_request(url)
            server.send_signal(told)
            assert waiting.recv(100).startswith(b"HTTP/1.1 200")  # who has asked is answered
        out, error = server.communicate(timeout=30)
    finally:
        server.kill()
        server.wait()
    assert (server.returncode, out, error) == (0, "", "")


def wait_for_a_request(url):
    """Return when a request waits for its batch."""
    for _ in range(100):
        request = urllib.request.Request(f"{url}metrics", headers={"Authorization": "Bearer sesame"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            if "waiting_requests 1" in answer.read().decode():
                return
    raise AssertionError("no request waits")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "run: has to be given"),
        (["run=nowhere"], "nowhere"),
        (["run=x", "port=99999"], "port=99999"),
        (["run=x", "max_body=much"], "max_body=much"),
        (["run=RUN", "token="], "token: give one or more ASCII characters"),
        (["run=RUN", "token=a", "token_file=b"], "give one of them"),
        (["run=RUN", "token_file=nowhere"], "token_file=nowhere: cannot be read"),
        (["run=x", "max_batch=0"], "max_batch=0"),
    ],
)
def test_a_mistake_is_one_line(runs, capsys, words, said):
    with pytest.raises(SystemExit) as left:
        main([word.replace("RUN", str(runs("mf"))) for word in words])
    assert left.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line


def test_sizes_are_read_with_their_units():
    assert read("serve", Settings, ["run=x", "max_body=1MB"]).max_body == 10**6
    assert read("serve", Settings, ["run=x", "max_body=64KiB"]).max_body == 2**16


def test_an_address_that_is_taken_is_said(cora):
    from recsys_lora.serving.service import Options

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match=r"host=127\.0\.0\.1 port=\d+: Address already in use"):
            serve(cora, "127.0.0.1", taken.getsockname()[1], Options())
    with pytest.raises(UserError, match=r"host=no\.such\.host\.invalid"):
        serve(cora, "no.such.host.invalid", 8000, Options())


def test_help_names_every_setting(capsys):
    main(["--help"])
    printed = capsys.readouterr().out
    assert "recsys-lora serve run=RUN" in printed
    assert all(f"  {name} " in printed for name in Settings.model_fields)


def test_without_the_extra_it_says_what_to_install(runs, monkeypatch, capsys):
    line = [f"run={runs('mf')}"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        main(line)
    assert "pip install 'recsys-lora[serve]'" in capsys.readouterr().err
