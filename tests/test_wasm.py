"""The WebAssembly module and its wrapper, in node and in Chromium, beside the engine in Python."""

import json
import os
import runpy
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import fastnn as fnn
from fastnn import layers

CSRC = Path(__file__).parents[1] / "csrc"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(not all(map(shutil.which, ("make", "emcc", "node"))), reason="needs make, Emscripten and node")


@pytest.fixture(scope="module")
def module():
    """The folder with fastnn.wasm and fastnn.js."""
    # emcc is Python that imports from beside itself.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    result = subprocess.run(["make", "-C", CSRC, "wasm"], capture_output=True, text=True, timeout=600, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    return CSRC / "build-wasm"


@pytest.fixture
def node(module, tmp_path):
    """node(script): what the script, in the folder of the test, sends with `tell(value)`."""

    def run(script):
        start = (
            f"import {{ load }} from {json.dumps((module / 'fastnn.js').as_uri())};\n"
            "import { readFileSync, writeFileSync } from 'node:fs';\n"
            "const tell = (value) => console.log(JSON.stringify(value));\n"
            "const array = (path, Type) => new Type(new Uint8Array(readFileSync(path)).buffer);\n"
            "const fastnn = await load();\n"
        )
        (tmp_path / "t.mjs").write_text(start + script)
        result = subprocess.run(["node", "t.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stdout + result.stderr
        return [json.loads(line) for line in result.stdout.splitlines()]

    return run


def classifier(seed=0):
    model = fnn.Sequential([fnn.Input((20,)), layers.Dense(33, "gelu", name="h"), layers.Dense(7, "softmax")])
    model.compile(optimizer=fnn.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy")
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.4, w.shape) for w in model.get_weights()])
    x = rng.normal(size=(320, 20)).astype("f4")
    return model, x, np.argmax(x[:, :7], axis=1).astype("i4")


def files(folder, **arrays):
    for name, array in arrays.items():
        np.ascontiguousarray(array).tofile(folder / name)


def test_size(module):
    assert (module / "fastnn.wasm").stat().st_size <= 300_000


def test_predicts_and_trains_as_python(node, tmp_path):
    model, x, y = classifier()
    model.save(tmp_path / "m.fnn")
    files(tmp_path, x=x, y=y)
    before, after, losses, batch, shapes = node("""
        const model = fastnn.open(readFileSync("m.fnn")), x = array("x", Float32Array), y = array("y", Int32Array);
        tell([...model.predict(x)]);
        const losses = model.fit({ x, y, epochs: 10, batchSize: 32, seed: 3 });   // 100 updates
        tell([...model.predict(x)]);
        tell([losses, model.iterations]);
        writeFileSync("trained.fnn", model.save());
        tell(model.trainBatch({ x: x.subarray(0, 640), y: y.subarray(0, 32), learningRate: 0.01 }));
        tell(Object.entries(model.parameters()).map(([name, values]) => [name, values.length]));
        model.free();
    """)
    assert np.abs(np.reshape(before, (-1, 7)) - model.predict(x)).max() <= 1e-6
    history = model.fit(x, y, epochs=10, batch_size=32, seed=3, verbose=0)
    np.testing.assert_allclose(losses[0], history.history["loss"], rtol=1e-4)
    assert losses[1] == 100
    np.testing.assert_allclose(np.reshape(after, (-1, 7)), model.predict(x), rtol=1e-4, atol=1e-6)
    assert losses[0][-1] < losses[0][0]

    ours = fnn.load(tmp_path / "trained.fnn")
    np.testing.assert_allclose(ours.predict(x), np.reshape(after, (-1, 7)), rtol=1e-5, atol=1e-6)
    assert ours.train_on_batch(x[:32], y[:32]) == pytest.approx(batch, rel=1e-5)
    assert [size for _, size in shapes] == [w.size for w in model.get_weights()]


@pytest.mark.parametrize("weights", [None, "int8", "bfloat16"])
def test_frozen_models(node, tmp_path, weights):
    model, x, _ = classifier(1)
    frozen = model.freeze(weights=weights) if weights else model.freeze()
    frozen.save(tmp_path / "p.fnn")
    files(tmp_path, x=x)
    (ours,) = node("""tell([...fastnn.open(readFileSync("p.fnn")).predict(array("x", Float32Array))]);""")
    assert np.abs(np.reshape(ours, (-1, 7)) - frozen(x)).max() <= 1e-6


def test_several_inputs_and_outputs(node, tmp_path):
    a, b = fnn.Input((3,), name="a"), fnn.Input((2,), name="b")
    hidden = layers.Dense(5, "tanh")(layers.Concatenate()([a, b]))
    model = fnn.Model([a, b], [layers.Dense(2, name="p")(hidden), layers.Dense(1, name="q")(hidden)])
    model.save(tmp_path / "m.fnn")
    rng = np.random.default_rng(0)
    xs = [rng.normal(size=(3000, n)).astype("f4") for n in (3, 2)]
    files(tmp_path, a=xs[0], b=xs[1])
    names, p, q = node("""
        const model = fastnn.open(readFileSync("m.fnn"));
        tell([...model.inputs, ...model.outputs].map((t) => [t.name, t.shape, t.dtype]));
        for (const y of model.predict([array("a", Float32Array), array("b", Float32Array)])) tell([...y]);
    """)
    assert names == [[name, [None, n], "float32"] for name, n in zip("abpq", (3, 2, 2, 1), strict=True)]
    for ours, theirs in zip((p, q), model.predict(xs), strict=True):
        np.testing.assert_allclose(np.reshape(ours, theirs.shape), theirs, atol=1e-6)


def test_mistakes_are_errors(node, tmp_path):
    model, _, _ = classifier()
    model.save(tmp_path / "m.fnn")
    double = fnn.Sequential([fnn.Input((2,)), layers.Dense(1)], dtype="float64")
    double.save(tmp_path / "double.fnn")
    messages = node("""
        const file = new Uint8Array(readFileSync("m.fnn")), model = fastnn.open(file), x = new Float32Array(20), y = [0];
        for (const mistake of [
            () => model.predict(x.subarray(1)),
            () => model.fit({ x, y: [7] }),
            () => model.fit({ x: x.map(() => NaN), y }),
            () => model.fit({ x, y, batchSize: 0 }),
            () => model.setParameter("h/kernel", [1, 2]),
            () => fastnn.open(readFileSync("double.fnn")),
            () => fastnn.open(new ArrayBuffer(0)),
            () => { model.free(); model.free(); model.predict(x); },
        ]) try { mistake(); tell("no error"); } catch (error) { tell(`${error.status} ${error.message}`); }
    """)
    wanted = ["whole rows of 20", "5 ", "5 ", "1 ", "'h/kernel' needs", "float64", "not a fastnn model file", "1 no model"]
    for message, part in zip(messages, wanted, strict=True):
        assert part in message, messages


def test_damaged_files_are_errors(node, tmp_path):
    model, x, _ = classifier()
    model.save(tmp_path / "m.fnn")
    refused, opened, right = node("""
        const file = new Uint8Array(readFileSync("m.fnn"));
        let seed = 1, refused = 0, opened = 0;
        const random = (n) => (seed = (seed * 48271) % 2147483647) % n;
        for (let i = 0; i < 3000; i++) {
            const bytes = file.slice(0, i % 3 ? file.length : random(file.length));
            for (let k = random(4); k >= 0; k--) bytes[random(i % 2 ? bytes.length : 600)] ^= 1 << random(8);
            try { fastnn.open(bytes).free(); opened++; } catch (error) { if (!error.status) throw error; refused++; }
        }
        tell(refused); tell(opened);
        tell([...fastnn.open(file).predict(new Float32Array(20).fill(1))]);
    """)
    assert refused > 2990 and refused + opened == 3000
    assert np.abs(np.array(right) - model.predict(np.ones((1, 20), "f4"))[0]).max() <= 1e-6


REPORT = """<script type="module">
    const state = document.getElementById("state");
    const tell = () => state.textContent.startsWith("Loading") || fetch("/report", { method: "POST", body: state.textContent });
    new MutationObserver(tell).observe(state, { childList: true });
    tell();
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_page_trains_in_chromium(module, tmp_path, monkeypatch):
    example, reported, heard = CSRC / "examples" / "browser", [], threading.Event()
    for file in (module / "fastnn.js", module / "fastnn.wasm", example / "make_model.py"):
        shutil.copy(file, tmp_path)
    (tmp_path / "index.html").write_text((example / "index.html").read_text().replace("</html>", REPORT + "</html>"))
    monkeypatch.chdir(tmp_path)
    runpy.run_path("make_model.py")

    class Handler(SimpleHTTPRequestHandler):
        def do_POST(self):
            reported.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(204)
            self.end_headers()
            heard.set()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        browser = subprocess.Popen(
            [CHROMIUM, *options, f"http://127.0.0.1:{server.server_port}/index.html"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "HOME": str(tmp_path)},
        )  # fmt: skip
        try:
            assert heard.wait(90), "the page says nothing"
        finally:
            browser.terminate()
            browser.wait(30)
            server.shutdown()
    assert reported[0].startswith("Epoch 100: loss 0."), reported
    assert int(reported[0].split(", ")[1].split()[0]) >= 380, reported
