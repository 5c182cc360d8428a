/* libfastnn in browsers and node: opens, runs, goes on training and saves what `Model.save` wrote. Docs: "Browser".
 *
 *     import { load } from "./fastnn.js";
 *     const fastnn = await load();                             // fastnn.wasm beside this file
 *     const model = fastnn.open(await (await fetch("model.fnn")).arrayBuffer());
 *     const y = model.predict(x);                              // rows one after the other, as in x
 *     const losses = model.fit({ x, y: labels, epochs: 5, batchSize: 32, seed: 0 });
 *     const file = model.save();                               // for fastnn.load in Python
 *     model.free();                                            // nothing else gives the memory back
 *
 * What the library refuses is thrown as an Error with its text, its status from fastnn.h in `status`,
 * and in `row` the row that it is about, or -1.
 */
const TYPES = [["float32", Float32Array], ["float64", Float64Array], ["float16", Uint16Array], ["bool", Uint8Array],
               ["int8", Int8Array], ["int16", Int16Array], ["int32", Int32Array], ["int64", BigInt64Array],
               ["uint8", Uint8Array], ["bfloat16", Uint16Array], ["uint32", Uint32Array], ["uint64", BigUint64Array]];
const INPUTS = 0, OUTPUTS = 1, TARGETS = 2, PARAMETERS = 4, FEATURE_NAMES = 5, CLASS_NAMES = 6;      // enum fnn_kind
const PREDICT = 0, TRAIN = 2, ERROR_TEXT = 24, ERROR_BYTES = 280, INFO_BYTES = 104;    // fnn_error, fnn_tensor_info
const ROWS = 1024;                                                                     // predicted at a time

/** source: fastnn.wasm as a URL, as bytes or as a WebAssembly.Module. */
export async function load(source = new URL("fastnn.wasm", import.meta.url)) {
    if (source instanceof URL && source.protocol === "file:" && typeof process === "object")
        source = await (await import("node:fs/promises")).readFile(source);
    else if (source instanceof URL || typeof source === "string") {
        const got = await fetch(source);
        if (!got.ok) throw new Error(`${source}: ${got.status} ${got.statusText}`);
        source = await got.arrayBuffer();
    }
    let c = null;
    const write = (at, value) => { new DataView(c.memory.buffer).setBigUint64(at, value, true); return 0; };
    const made = await WebAssembly.instantiate(source, {
        env: { emscripten_notify_memory_growth() {} },
        wasi_snapshot_preview1: {                                                      // a clock, and no variables
            clock_time_get: (id, precision, at) => write(at, BigInt(Math.round(performance.now() * 1e6))),
            environ_sizes_get: (count, bytes) => { new Uint32Array(c.memory.buffer)[count / 4] = 0; return 0; },
            environ_get: () => 0,
        },
    });
    c = (made.instance ?? made).exports;
    c._initialize();
    return { version: textAt(c, c.fnn_version()), open: (bytes) => new Model(c, bytes) };
}

const view = (c, Type, at, count) => new Type(c.memory.buffer, at, count);     // until memory is taken
function textAt(c, at) {
    const bytes = view(c, Uint8Array, at);
    return new TextDecoder().decode(bytes.slice(0, bytes.indexOf(0)));
}
function take(c, bytes) {
    const at = c.malloc(bytes || 1);
    if (!at) throw new Error(`out of memory: ${bytes} bytes`);
    return at;
}
/** What use(at) returns, with memory that is given back then. */
function lend(c, bytes, use) {
    const at = take(c, bytes);
    try { return use(at); } finally { c.free(at); }
}
/** Memory for arrays of these lengths, and before them a pointer to each. */
function place(c, lengths) {
    const sizes = lengths.map(([Type, n]) => (n * Type.BYTES_PER_ELEMENT + 15) & ~15), first = 8 * lengths.length;
    const pointers = take(c, sizes.reduce((a, b) => a + b, first));
    let at = pointers + first;
    return { pointers, at: sizes.map((size, i) => {
        view(c, Uint32Array, pointers)[i] = at;
        at += size;
        return at - size;
    }) };
}
function check(c, call) {
    lend(c, ERROR_BYTES, (error) => {
        const status = call(error);
        const row = Number(new DataView(c.memory.buffer).getBigInt64(error + 8, true));
        if (status) throw Object.assign(new Error(textAt(c, error + ERROR_TEXT)), { status, row });
    });
}
/** Checks that there is an array for each tensor, as many rows in all; in the tensors' types. */
function arraysOf(tensors, given, rows) {
    const arrays = tensors.length === 1 ? [given] : given ?? [];
    rows ??= arrays[0]?.length / tensors[0]?.count;
    return tensors.map(({ name, Type, count }, i) => {
        if (!Number.isInteger(rows) || arrays[i]?.length !== rows * count)
            throw new Error(`'${name}' needs whole rows of ${count}, got ${arrays[i]?.length} numbers for ${rows} rows`);
        return arrays[i] instanceof Type ? arrays[i] : Type.from(arrays[i], Type === BigInt64Array ? BigInt : Number);
    });
}

class Model {
    #c; #handle = 0; #sessions = new Map();

    constructor(c, bytes) {
        const file = new Uint8Array(bytes.buffer ?? bytes, bytes.byteOffset, bytes.byteLength);
        this.#c = c;
        lend(c, file.length + 8, (at) => {
            view(c, Uint8Array, at + 8, file.length).set(file);
            check(c, (error) => c.fnn_open_memory(at + 8, file.length, at, error));
            this.#handle = view(c, Uint32Array, at, 1)[0];
        });
        [this.inputs, this.outputs, this.targets] = [INPUTS, OUTPUTS, TARGETS].map((kind) => this.#tensors(kind));
        [this.classes, this.features] = [CLASS_NAMES, FEATURE_NAMES].map((kind) => Array.from(
            { length: c.fnn_model_count(this.#handle, kind) }, (_, i) => textAt(c, c.fnn_model_name(this.#handle, kind, i))));
        this.learningRate = c.fnn_model_learning_rate(this.#handle);    // NaN: a schedule, or none
    }

    /** How many updates have been made. */
    get iterations() { return Number(this.#c.fnn_model_iterations(this.#handle)); }

    #tensors(kind) {
        const c = this.#c, number = (info, at) => Number(new DataView(c.memory.buffer).getBigInt64(info + at, true));
        const length = Math.max(c.fnn_model_count(this.#handle, kind), 0);
        return Array.from({ length }, (_, i) => lend(c, INFO_BYTES, (info) => {
            check(c, (error) => c.fnn_model_tensor(this.#handle, kind, i, info, error));
            const [id, type, , trained, ndim] = view(c, Int32Array, info, 5), [dtype, Type] = TYPES[type];
            const shape = Array.from({ length: ndim }, (_, d) => number(info, 24 + 8 * d)).map((n) => (n < 0 ? null : n));
            const name = textAt(c, view(c, Uint32Array, info + 96, 1)[0]);
            return { name, shape, dtype, count: number(info, 88), trained: trained === 1, id, Type };
        }));
    }

    #session(mode, rows) {
        const key = `${mode} ${rows}`, c = this.#c;
        if (!this.#sessions.has(key)) {
            lend(c, 8, (at) => {
                check(c, (error) => c.fnn_session_create(this.#handle, mode, BigInt(rows), 2, at, error));
                this.#sessions.set(key, { handle: view(c, Uint32Array, at, 1)[0] });
            });
        }
        return this.#sessions.get(key);
    }

    /** x (rows, ...): a typed array or a list of numbers; a list of them where there are several inputs. A new typed array,
     * or a list of them where there are several outputs. */
    predict(x, rows = undefined) {
        const c = this.#c, inputs = arraysOf(this.inputs, x, rows), n = inputs[0].length / this.inputs[0].count;
        const most = Math.min(2 ** Math.ceil(Math.log2(n || 1)), ROWS), session = this.#session(PREDICT, most);
        session.from ??= place(c, this.inputs.map((t) => [t.Type, most * t.count]));
        session.to ??= place(c, this.outputs.map((t) => [t.Type, most * t.count]));
        const results = this.outputs.map((t) => new t.Type(n * t.count)), { from, to } = session;
        for (let row = 0; row < n; row += most) {
            const end = Math.min(row + most, n);
            this.inputs.forEach((t, i) => view(c, t.Type, from.at[i], (end - row) * t.count)
                .set(inputs[i].subarray(row * t.count, end * t.count)));
            check(c, (error) => c.fnn_predict_many(session.handle, from.pointers, to.pointers, BigInt(end - row), error));
            this.outputs.forEach((t, i) => results[i].set(view(c, t.Type, to.at[i], (end - row) * t.count), row * t.count));
        }
        return results.length === 1 ? results[0] : results;
    }

    #train({ x, y, batchSize, learningRate = this.learningRate }, run) {
        const c = this.#c, tensors = [...this.inputs, ...this.targets], inputs = arraysOf(this.inputs, x);
        const n = inputs[0].length / this.inputs[0].count, arrays = [...inputs, ...arraysOf(this.targets, y, n)];
        if (Number.isNaN(learningRate)) throw new Error("the model has no fixed learning rate: give learningRate");
        const session = this.#session(TRAIN, Math.min(batchSize ?? n, n)).handle;
        const placed = place(c, tensors.map((t, i) => [t.Type, arrays[i].length]));
        try {
            tensors.forEach((t, i) => view(c, t.Type, placed.at[i], arrays[i].length).set(arrays[i]));
            return run((name, ...order) => lend(c, 8, (loss) => {
                check(c, (error) => c[name](session, placed.pointers, BigInt(n), ...order, learningRate, loss, error));
                return view(c, Float64Array, loss, 1)[0];
            }));
        } finally { c.free(placed.pointers); }
    }
    /** One update with all rows: the loss before it. The arguments are those of `fit`. */
    trainBatch({ x, y, learningRate }) {
        return this.#train({ x, y, learningRate }, (call) => call("fnn_train_batch"));
    }
    /** Epochs [epoch, epoch + epochs) of Python's fit(x, y, batch_size, seed=seed): a list of their mean losses. */
    fit({ epochs = 1, epoch = 0, batchSize = 32, seed = 0, onEpoch = () => {}, ...data }) {
        return this.#train({ batchSize, ...data }, (call) => Array.from({ length: epochs }, (_, i) => {
            const loss = call("fnn_train_epoch", BigInt(seed), BigInt(epoch + i));
            onEpoch(epoch + i, loss);
            return loss;
        }));
    }
    trainEpoch(options) { return this.fit({ ...options, epochs: 1 })[0]; }

    #parameter(call, { id, Type, count }, values) {
        const c = this.#c;
        return lend(c, count * Type.BYTES_PER_ELEMENT, (at) => {
            if (values) view(c, Type, at, count).set(values);
            check(c, (error) => call(this.#handle, id, at, BigInt(count), error));
            return view(c, Type, at, count).slice();
        });
    }
    /** Copies: an object of names and typed arrays, row-major. */
    parameters() {
        const get = this.#c.fnn_get_parameter;
        return Object.fromEntries(this.#tensors(PARAMETERS).map((t) => [t.name, this.#parameter(get, t)]));
    }
    setParameter(name, values) {
        const tensor = this.#tensors(PARAMETERS).find((t) => t.name === name);
        if (!tensor) throw new Error(`the model has no parameter '${name}'`);
        this.#parameter(this.#c.fnn_set_parameter, tensor, arraysOf([tensor], values, 1)[0]);
    }

    /** The bytes of a file with the parameters and moments of now. */
    save() {
        const c = this.#c;
        return lend(c, 8, (size) => {
            const bytes = () => view(c, Uint32Array, size, 1)[0];
            view(c, Uint32Array, size, 1)[0] = 0;
            try {
                check(c, (error) => c.fnn_save_memory(this.#handle, 0, 0, size, error));
            } catch (error) { if (!bytes()) throw error; }    // that it does not fit into nothing
            return lend(c, bytes(), (at) => {
                check(c, (error) => c.fnn_save_memory(this.#handle, at, bytes(), size, error));
                return view(c, Uint8Array, at, bytes()).slice();
            });
        });
    }

    free() {
        for (const { handle, from, to } of this.#sessions.values()) {
            this.#c.fnn_session_free(handle);
            for (const placed of [from, to]) if (placed) this.#c.free(placed.pointers);
        }
        this.#c.fnn_model_free(this.#handle);
        this.#sessions.clear();
        this.#handle = 0;
    }
}
