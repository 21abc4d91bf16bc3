//! Sets the `cfg` values of the CPython version that the extension module is built for, such as `cfg(Py_3_14)`.

fn main() {
    #[cfg(feature = "python")]
    pyo3_build_config::use_pyo3_cfgs();
}
