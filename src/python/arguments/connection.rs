//! Arguments of a client that say how it connects: certificates and proxy.

use std::path::{Path, PathBuf};

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::foreign;
use super::readers::text;
use crate::python::errors::{argument, wrong};
use crate::transport::{Identity, Trust, check_proxy};
use crate::types::secret::Secret;

/// Reads a file of certificate authorities.
///
/// # Errors
///
/// `InvalidArgumentError` for a file that cannot be read or holds no certificates.
pub(crate) fn ca_bundle(value: &Bound<'_, PyAny>) -> PyResult<Trust> {
    let py = value.py();
    foreign::refuse_ssl_context("ca_bundle", value)?;
    let path: PathBuf =
        value.extract().map_err(|_| wrong("ca_bundle", value, "the path of a PEM file of certificates"))?;
    let pem = std::fs::read(&path)
        .map_err(|error| argument(py, format!("ca_bundle: {} cannot be read: {error}", path.display())))?;
    Trust::bundle(&pem).map_err(|why| argument(py, format!("ca_bundle: {} {why}", path.display())))
}

/// Reads a proxy's address. The address may hold a password, so no error shows it.
///
/// # Errors
///
/// `InvalidArgumentError` for what is no address of a proxy.
pub(crate) fn proxy(value: &Bound<'_, PyAny>) -> PyResult<Secret> {
    let address = text("proxy", value, "an address such as \"http://host:3128\"")?;
    check_proxy(&address).map_err(|why| argument(value.py(), format!("proxy {why}")))?;
    Ok(Secret::new(address))
}

/// Reads the client's own certificate: a file that holds the certificate and its key, or one file for each.
///
/// # Errors
///
/// `InvalidArgumentError` for files that cannot be read, and for a key that is encrypted or of another certificate.
pub(crate) fn client_cert(value: &Bound<'_, PyAny>) -> PyResult<Identity> {
    const RIGHT: &str =
        "the path of a PEM file with a certificate and its key, or a tuple of two paths, (certificate, key),";
    let py = value.py();
    let path = |value: &Bound<'_, PyAny>| -> PyResult<PathBuf> {
        value.extract().map_err(|_| wrong("client_cert", value, RIGHT))
    };
    let (certificate, key) = match value.cast::<PyTuple>() {
        Err(_) => (path(value)?, None),
        Ok(paths) => match (paths.len(), paths.get_item(2)) {
            (2, _) => (path(&paths.get_item(0)?)?, Some(path(&paths.get_item(1)?)?)),
            (3, Ok(password)) if password.is_none() => (path(&paths.get_item(0)?)?, Some(path(&paths.get_item(1)?)?)),
            (3, _) => {
                return Err(argument(
                    py,
                    "client_cert has a password, and keys that are encrypted cannot be read: decrypt it into a file that \
                     only you can read (openssl pkey -in key.pem -out plain.pem), and give (certificate, key)",
                ));
            }
            (length, _) => {
                return Err(argument(py, format!("client_cert is a tuple of {length}: {RIGHT} would be right")));
            }
        },
    };
    let read = |path: &Path| {
        std::fs::read(path)
            .map_err(|error| argument(py, format!("client_cert: {} cannot be read: {error}", path.display())))
    };
    let chain = read(&certificate)?;
    let (key, from) = match &key {
        None => (chain.clone(), &certificate),
        Some(path) => (read(path)?, path),
    };
    Identity::new(&chain, &key).map_err(|(is_key, why)| {
        let path = if is_key { from } else { &certificate };
        argument(py, format!("client_cert: {} {why}", path.display()))
    })
}
