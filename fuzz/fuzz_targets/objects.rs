//! Compares the decoding of JSON into Python objects with Python's own `json`.
#![no_main]

use std::ffi::CString;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use ritellm as _; // whose `PyInit__core` is declared below

/// The comparison that runs in Python, with the intended differences.
const CHECK: &str = r#"
import json, sys
# The one that is linked in here, not the one that is installed.
import _core
sys.modules["ritellm._core"] = _core
import ritellm

def same(ours, theirs):
    if isinstance(theirs, float):
        return type(ours) is float and (ours == theirs or (ours != ours and theirs != theirs))
    if isinstance(theirs, dict):
        return isinstance(ours, dict) and list(ours) == list(theirs) and all(same(ours[k], theirs[k]) for k in theirs)
    if isinstance(theirs, list):
        return type(ours) is list and len(ours) == len(theirs) and all(map(same, ours, theirs))
    return type(ours) is type(theirs) and ours == theirs

def check(data):
    try:
        ours, refused = _core.from_json(data), None
    except ValueError as error:
        ours, refused = None, str(error)
    try:
        # As it says of itself: what is no UTF-8 is replaced, and control characters are let pass.
        theirs, invalid = json.loads(data.decode(errors="replace"), strict=False), None
    except (ValueError, RecursionError) as error:
        theirs, invalid = None, error
    if refused is None and invalid is None:
        assert same(ours, theirs), (data, ours, theirs)
    elif refused is not None and invalid is None:
        assert any(word in refused for word in ("nested", "deep", "NaN", "Infinity", "expected", "number", "digits")), (data, refused)
    else:
        assert refused is not None or isinstance(invalid, RecursionError) or "digits" in str(invalid), (data, ours, invalid)
"#;

unsafe extern "C" {
    fn PyInit__core() -> *mut pyo3::ffi::PyObject;
}

fn check() -> &'static Py<PyAny> {
    static CHECKING: OnceLock<Py<PyAny>> = OnceLock::new();
    CHECKING.get_or_init(|| {
        // SAFETY: before Python is started, which is when modules can be added; the name lives for ever.
        unsafe { pyo3::ffi::PyImport_AppendInittab(c"_core".as_ptr(), Some(PyInit__core)) };
        Python::attach(|py| {
            let code = CString::new(CHECK).expect("no zero byte stands in it");
            let module =
                PyModule::from_code(py, &code, c"check.py", c"check").expect("PYTHONPATH leads to the package");
            module.getattr("check").expect("it is defined there").unbind()
        })
    })
}

fuzz_target!(|input: &[u8]| {
    let check = check();
    Python::attach(|py| {
        if let Err(error) = check.bind(py).call1((PyBytes::new(py, input),)) {
            error.print(py);
            panic!("the two do not agree");
        }
    });
});
