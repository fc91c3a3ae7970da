// Compresses a model to a ratio. The declarations come from the header by bindgen (Debian: bindgen, libclang1-14):
//
//   bindgen cet/cet.h --allowlist-function 'cet_.*' --allowlist-type 'cet_.*' --allowlist-var 'CET_.*' \
//     --no-prepend-enum-name -o cet.rs -- -I$(cc -print-file-name=include)
//   rustc -O compress.rs $(pkg-config --libs-only-L cet) && ./compress in.onnx calibration.npz 11 out.onnx

#[allow(non_camel_case_types, non_upper_case_globals, dead_code)]
mod ffi {
    include!("cet.rs");
    #[link(name = "cet")]
    extern "C" {}
}
use std::ffi::{CStr, CString};
use std::ptr::null_mut;

/// A handle that frees itself.
struct Handle<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        unsafe { (self.1)(self.0) }
    }
}

/// The library's line about a call of this thread that has just failed.
fn checked(status: ffi::cet_status) -> Result<(), String> {
    match status {
        0 => Ok(()),
        _ => Err(unsafe { CStr::from_ptr(ffi::cet_last_error_message()) }.to_string_lossy().into_owned()),
    }
}

fn made<T>(free: unsafe extern "C" fn(*mut T), make: impl FnOnce(*mut *mut T) -> ffi::cet_status) -> Result<Handle<T>, String> {
    let mut raw = null_mut();
    checked(make(&mut raw))?;
    Ok(Handle(raw, free))
}

fn compress(model: &CStr, data: &CStr, ratio: f64, out: &CStr) -> Result<(), String> {
    unsafe {
        let model = made(ffi::cet_model_free, |raw| ffi::cet_model_load_file(model.as_ptr(), raw))?;
        let data = made(ffi::cet_calibration_free, |raw| ffi::cet_calibration_load_npz(data.as_ptr(), raw))?;
        let mut options: ffi::cet_plan_options = std::mem::zeroed();
        checked(ffi::cet_plan_options_init(&mut options, std::mem::size_of_val(&options) as _))?;
        options.target_ratio = ratio;
        let plan = made(ffi::cet_plan_free, |raw| ffi::cet_plan(model.0, data.0, &options, raw))?;
        let small = made(ffi::cet_quantized_free, |raw| {
            ffi::cet_quantize(model.0, data.0, plan.0, std::ptr::null(), raw)
        })?;
        checked(ffi::cet_quantized_save_file(small.0, out.as_ptr(), std::ptr::null()))
    }
}

fn main() {
    let arguments: Vec<CString> = std::env::args().map(|a| CString::new(a).expect("no NUL in arguments")).collect();
    let ratio = arguments.get(3).and_then(|a| a.to_str().ok()).and_then(|a| a.parse().ok());
    let (Some(ratio), 5) = (ratio, arguments.len()) else {
        eprintln!("usage: compress in.onnx calibration.npz ratio out.onnx");
        std::process::exit(2);
    };
    if let Err(message) = compress(&arguments[1], &arguments[2], ratio, &arguments[4]) {
        eprintln!("compress: {message}");
        std::process::exit(1);
    }
}
