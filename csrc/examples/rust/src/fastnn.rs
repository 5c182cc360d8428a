//! What the program needs of fastnn.h, and a safe wrapper of it.

use std::ffi::{c_char, c_int, c_void, CStr};
use std::ptr::{null_mut, NonNull};

/// `fnn_error`
#[repr(C)]
struct RawError {
    status: c_int,
    tensor: c_int,
    row: i64,
    value: f64,
    text: [c_char; 256],
}

/// `fnn_tensor_info`
#[repr(C)]
struct TensorInfo {
    id: c_int,
    dtype: c_int,
    sparse: c_int,
    trained: c_int,
    ndim: c_int,
    shape: [i64; 8],
    count: i64,
    name: *const c_char,
}

const FLOAT32: c_int = 0;
const INPUTS: c_int = 0;
const OUTPUTS: c_int = 1;
const CLASS_NAMES: c_int = 6;
const PREDICT: c_int = 0;

extern "C" {
    fn fnn_open_memory(bytes: *const c_void, size: usize, model: *mut *mut c_void, err: *mut RawError) -> c_int;
    fn fnn_model_free(model: *mut c_void);
    fn fnn_model_count(model: *const c_void, kind: c_int) -> c_int;
    fn fnn_model_tensor(model: *const c_void, kind: c_int, index: c_int, info: *mut TensorInfo, err: *mut RawError) -> c_int;
    fn fnn_model_name(model: *const c_void, kind: c_int, index: c_int) -> *const c_char;
    fn fnn_session_create(
        model: *mut c_void, mode: c_int, max_rows: i64, flags: c_int, session: *mut *mut c_void, err: *mut RawError,
    ) -> c_int;
    fn fnn_session_free(session: *mut c_void);
    fn fnn_session_error(session: *const c_void) -> *const RawError;
    fn fnn_predict(session: *mut c_void, x: *const c_void, y: *mut c_void, n: i64) -> c_int;
}

/// What the library says went wrong.
#[derive(Debug)]
pub struct Error(pub String);

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {}

impl RawError {
    fn new() -> Self {
        RawError { status: 0, tensor: -1, row: -1, value: 0.0, text: [0; 256] }
    }

    fn error(&self) -> Error {
        // The library ends its text with a zero byte.
        Error(unsafe { CStr::from_ptr(self.text.as_ptr()) }.to_string_lossy().into_owned())
    }
}

/// A model of one float32 input and one float32 output. Any thread may make sessions of it.
pub struct Model {
    handle: NonNull<c_void>,
    inputs: usize,
    outputs: usize,
}

// fastnn.h: any number of threads at a time on one model.
unsafe impl Send for Model {}
unsafe impl Sync for Model {}

impl Model {
    /// From the bytes of a file that fastnn saved.
    pub fn new(bytes: &[u8]) -> Result<Model, Error> {
        let (mut handle, mut err) = (null_mut(), RawError::new());
        if unsafe { fnn_open_memory(bytes.as_ptr().cast(), bytes.len(), &mut handle, &mut err) } != 0 {
            return Err(err.error());
        }
        let mut model = Model { handle: NonNull::new(handle).expect("a model"), inputs: 0, outputs: 0 };
        model.inputs = model.width(INPUTS)?;
        model.outputs = model.width(OUTPUTS)?;
        Ok(model)
    }

    /// The numbers of a row of the only tensor of a kind.
    fn width(&self, kind: c_int) -> Result<usize, Error> {
        let mut info = TensorInfo {
            id: 0, dtype: 0, sparse: 0, trained: 0, ndim: 0, shape: [0; 8], count: 0, name: std::ptr::null(),
        };
        let mut err = RawError::new();
        if unsafe { fnn_model_tensor(self.handle.as_ptr(), kind, 0, &mut info, &mut err) } != 0 {
            return Err(err.error());
        }
        if unsafe { fnn_model_count(self.handle.as_ptr(), kind) } != 1 || info.dtype != FLOAT32 || info.sparse != 0 {
            return Err(Error("the model needs one float32 input and one float32 output".into()));
        }
        Ok(info.count as usize)
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The name of the class that an output stands for, where the model knows it.
    pub fn class_name(&self, index: usize) -> Option<String> {
        let name = unsafe { fnn_model_name(self.handle.as_ptr(), CLASS_NAMES, index as c_int) };
        (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        unsafe { fnn_model_free(self.handle.as_ptr()) }
    }
}

/// All that predictions of up to `max_rows` rows need. One thread at a time has it, as `predict` takes `&mut self`.
pub struct Session<'a> {
    handle: NonNull<c_void>,
    model: &'a Model,
    max_rows: usize,
}

unsafe impl Send for Session<'_> {}

impl<'a> Session<'a> {
    pub fn new(model: &'a Model, max_rows: usize) -> Result<Self, Error> {
        let (mut handle, mut err) = (null_mut(), RawError::new());
        if unsafe { fnn_session_create(model.handle.as_ptr(), PREDICT, max_rows as i64, 0, &mut handle, &mut err) } != 0 {
            return Err(err.error());
        }
        Ok(Session { handle: NonNull::new(handle).expect("a session"), model, max_rows })
    }

    /// Rows of `model.inputs()` numbers to rows of `model.outputs()`. Takes no memory.
    pub fn predict(&mut self, x: &[f32], y: &mut [f32]) -> Result<(), Error> {
        let (inputs, outputs) = (self.model.inputs, self.model.outputs);
        if x.len() % inputs != 0 || y.len() != x.len() / inputs * outputs {
            return Err(Error(format!("needs rows of {inputs} and {outputs} numbers, got {} and {}", x.len(), y.len())));
        }
        for (x, y) in x.chunks(self.max_rows * inputs).zip(y.chunks_mut(self.max_rows * outputs)) {
            let n = (x.len() / inputs) as i64;
            if unsafe { fnn_predict(self.handle.as_ptr(), x.as_ptr().cast(), y.as_mut_ptr().cast(), n) } != 0 {
                return Err(unsafe { &*fnn_session_error(self.handle.as_ptr()) }.error());
            }
        }
        Ok(())
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        unsafe { fnn_session_free(self.handle.as_ptr()) }
    }
}
