//! Certificate authorities that a client trusts, and the client's own certificate.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memchr::memmem;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Certificate authorities that a client trusts.
#[derive(Debug, Clone, Default)]
pub enum Trust {
    /// The system's authorities (`SSL_CERT_FILE` and similar variables take precedence), or Mozilla's if it has none.
    #[default]
    System,
    /// These authorities only.
    Authorities(Arc<RootCertStore>),
    /// No verification: anyone between client and server can read and change everything, the key included.
    NoVerification,
}

impl Trust {
    /// Parses the authorities of a PEM file.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the file.
    pub fn bundle(pem: &[u8]) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| format!("is no PEM file: {error}"))?;
            roots.add(certificate).map_err(|error| format!("holds a certificate that cannot be used: {error}"))?;
        }
        match roots.is_empty() {
            true => Err("holds no certificate".into()),
            false => Ok(Self::Authorities(Arc::new(roots))),
        }
    }

    /// Creates the TLS configuration of a client. Reads files, and so blocks.
    ///
    /// # Errors
    ///
    /// Returns an error if a variable names unreadable authorities, or the key of the identity cannot be used.
    pub(super) fn config(
        &self,
        environment: &Environment,
        identity: Option<&Identity>,
        protocols: &[&[u8]],
    ) -> Result<ClientConfig> {
        let failed = |error: rustls::Error| Error::connection(format!("TLS cannot be set up: {error}"));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(failed)?;
        let builder = match self {
            Self::System => builder.with_root_certificates(environment.authorities()?),
            Self::Authorities(roots) => builder.with_root_certificates(roots.clone()),
            Self::NoVerification => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
            }
        };
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key()).map_err(failed)?
            }
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }

    /// Describes the authorities for the error about an untrusted certificate.
    pub(super) fn describe(&self, environment: &Environment) -> String {
        match self {
            Self::Authorities(_) => "checked against the authorities of ca_bundle".into(),
            _ if environment.named.is_empty() => {
                "checked against this machine's authorities; others are given with ca_bundle=\"file.pem\"".into()
            }
            _ => {
                let named = environment.named.iter().map(|(name, path)| format!("{name}={}", path.to_string_lossy()));
                let unread: String =
                    environment.unread.iter().map(|(name, _)| format!("; {name} is not read beside it")).collect();
                let named = named.collect::<Vec<_>>().join(" and ");
                format!("checked against the authorities of {named}{unread}; ca_bundle=\"file.pem\" goes before it")
            }
        }
    }
}

/// Certificate authorities that the environment names.
#[derive(Debug, Clone, Default)]
pub(super) struct Environment {
    /// Variables and their values, none of which is empty.
    named: Vec<(&'static str, OsString)>,
    /// Variables that are set and not used, since others take precedence.
    unread: Vec<(&'static str, OsString)>,
    /// True if `SSL_CERT_FILE` is set to an empty value.
    is_empty_file: bool,
}

impl Environment {
    /// Reads OpenSSL's variables `SSL_CERT_FILE` and `SSL_CERT_DIR`, and if neither is set, `REQUESTS_CA_BUNDLE` or
    /// `CURL_CA_BUNDLE`, which requests uses.
    pub fn read(variable: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &'static str| variable(name).filter(|value| !value.is_empty()).map(|value| (name, value));
        let mut named: Vec<_> = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().filter_map(set).collect();
        let mut unread: Vec<_> = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"].into_iter().filter_map(set).collect();
        if named.is_empty() && !unread.is_empty() {
            named.push(unread.remove(0));
        }
        Self { named, unread, is_empty_file: variable("SSL_CERT_FILE").is_some_and(|value| value.is_empty()) }
    }

    /// Loads the named authorities, or else the system's, or Mozilla's if it has none. Reads files, and so blocks.
    ///
    /// # Errors
    ///
    /// Returns an error if a variable names a file that cannot be read or contains no certificate: other authorities in
    /// its place would be ones that the user did not choose to trust. Variables that are not used have to be readable too,
    /// since a mistake in one is found late otherwise: when the one before it is unset.
    fn authorities(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        if self.named.is_empty() {
            roots.add_parsable_certificates(self.system());
            if roots.is_empty() {
                roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
            return Ok(roots);
        }
        for (name, value) in &self.unread {
            is_directory(name, Path::new(value))?;
        }
        for (name, value) in &self.named {
            let paths: Vec<PathBuf> = match *name {
                "SSL_CERT_DIR" => std::env::split_paths(value).filter(|path| !path.as_os_str().is_empty()).collect(),
                _ => vec![value.into()],
            };
            let mut added = 0;
            for path in paths {
                let is_directory = is_directory(name, &path)?;
                let (file, directory) = if is_directory { (None, Some(&*path)) } else { (Some(&*path), None) };
                let found = rustls_native_certs::load_certs_from_paths(file, directory).certs;
                let (usable, _) = roots.add_parsable_certificates(found);
                if usable == 0 && !is_directory {
                    return Err(refused(name, &path, &"which holds no certificate"));
                }
                added += usable;
            }
            if added == 0 && roots.is_empty() {
                return Err(Error::argument(format!(
                    "the environment variable {name} names {}, in which there is no certificate",
                    value.to_string_lossy()
                )));
            }
        }
        Ok(roots)
    }

    fn system(&self) -> Vec<CertificateDer<'static>> {
        // `load_native_certs` takes an empty variable for the name of a file.
        #[cfg(all(unix, not(target_vendor = "apple")))]
        if self.is_empty_file {
            let paths = openssl_probe::probe();
            let directory = paths.cert_dir.first().map(PathBuf::as_path);
            return rustls_native_certs::load_certs_from_paths(paths.cert_file.as_deref(), directory).certs;
        }
        rustls_native_certs::load_native_certs().certs
    }
}

/// Returns true if the path that a variable names is a directory.
///
/// # Errors
/// `InvalidArgument` if it cannot be read.
fn is_directory(variable: &str, path: &Path) -> Result<bool> {
    let unreadable = |error: std::io::Error| refused(variable, path, &format_args!("which cannot be read: {error}"));
    let is_directory = std::fs::metadata(path).map_err(unreadable)?.is_dir();
    let read = match is_directory {
        true => std::fs::read_dir(path).map(drop),
        false => std::fs::File::open(path).map(drop),
    };
    read.map_err(unreadable)?;
    Ok(is_directory)
}

fn refused(variable: &str, path: &Path, why: &dyn std::fmt::Display) -> Box<Error> {
    Error::argument(format!("the environment variable {variable} names {}, {why}", path.display()))
}

/// Returns a hash of what decides about a TLS connection: equal ones may share it.
pub(super) fn fingerprint(trust: &Trust, identity: Option<&Identity>) -> [u8; 32] {
    let mut digest = Sha256::new();
    let mut add = |part: &[u8]| {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    };
    match trust {
        Trust::System => add(b"system"),
        Trust::NoVerification => add(b"none"),
        Trust::Authorities(store) => {
            for root in &store.roots {
                add(&root.subject);
                add(&root.subject_public_key_info);
            }
        }
    }
    // Its end, so that no authority can stand for a certificate.
    add(b"identity");
    identity.iter().flat_map(|identity| &identity.chain).for_each(|certificate| add(certificate));
    digest.finalize().into()
}

/// A client certificate and its private key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(..)")
    }
}

impl Identity {
    /// Parses a certificate with its chain, and its key, both as PEM.
    ///
    /// # Errors
    ///
    /// Returns whether the error concerns the key, and what is wrong. It never contains the key.
    pub fn new(chain: &[u8], key: &[u8]) -> Result<Self, (bool, String)> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let certificates = certificates.map_err(|error| (false, format!("is no PEM file: {error}")))?;
        if certificates.is_empty() {
            return Err((false, "holds no certificate".into()));
        }
        if [&b"ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"]
            .iter()
            .any(|mark| memmem::find(key, mark).is_some())
        {
            let why = "holds a key that is encrypted, which cannot be read: decrypt it into a file that only you can read \
                       (openssl pkey -in key.pem -out plain.pem)";
            return Err((true, why.into()));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => (true, "holds no private key".into()),
            _ => (true, "holds a private key that cannot be read".into()),
        })?;
        let provider = rustls::crypto::ring::default_provider();
        match rustls::sign::CertifiedKey::from_der(certificates.clone(), key.clone_key(), &provider) {
            Ok(_) => Ok(Self { chain: certificates, key }),
            Err(rustls::Error::InconsistentKeys(_)) => Err((true, "holds a key that is not the certificate's".into())),
            Err(error) => Err((true, format!("cannot be used: {error}"))),
        }
    }
}

/// Verifier that accepts every certificate; the signatures of the handshake are still verified.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
