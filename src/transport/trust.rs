//! Whose certificates a client believes.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use memchr::memmem;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::{Error, Result};

/// Whose certificates a client believes.
#[derive(Debug, Clone, Default)]
pub enum Trust {
    /// Those of the machine's authorities (`SSL_CERT_FILE` and its like have the say), or of Mozilla's where it
    /// has none.
    #[default]
    Machine,
    /// Those of these authorities alone.
    Authorities(Arc<RootCertStore>),
    /// Anybody's: whoever stands in between can read and change everything, the key too.
    Anybody,
}

impl Trust {
    /// The authorities of a PEM file's content; otherwise what is wrong with it.
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

    /// TLS as a client speaks it; reads files.
    ///
    /// # Errors
    ///
    /// A variable names authorities that cannot be read, or the identity's key cannot be used.
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
            Self::Machine => builder.with_root_certificates(environment.authorities()?),
            Self::Authorities(roots) => builder.with_root_certificates(roots.clone()),
            Self::Anybody => builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider))),
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

    /// Whose certificates they are, for the error about one that is not believed.
    pub(super) fn described(&self, environment: &Environment) -> String {
        match self {
            Self::Authorities(_) => "checked against the authorities of ca_bundle".into(),
            _ if environment.named.is_empty() => {
                "checked against this machine's authorities; others are given with ca_bundle=\"file.pem\"".into()
            }
            _ => {
                let named = environment.named.iter().map(|(name, path)| format!("{name}={}", path.to_string_lossy()));
                let unread = environment.unread.map_or(String::new(), |name| format!("; {name} is not read beside it"));
                let named = named.collect::<Vec<_>>().join(" and ");
                format!("checked against the authorities of {named}{unread}; ca_bundle=\"file.pem\" goes before it")
            }
        }
    }
}

/// Where the environment says that authorities are.
#[derive(Debug, Clone, Default)]
pub(super) struct Environment {
    /// Variables and what they say; none is empty.
    named: Vec<(&'static str, OsString)>,
    /// One that is set, and has nothing to say beside those.
    unread: Option<&'static str>,
    /// `SSL_CERT_FILE` is there and says nothing.
    is_blank: bool,
}

impl Environment {
    /// Reads `SSL_CERT_FILE` and `SSL_CERT_DIR`, which OpenSSL knows, and where neither is set `REQUESTS_CA_BUNDLE` or
    /// `CURL_CA_BUNDLE`, which requests does.
    pub fn read(variable: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &'static str| variable(name).filter(|value| !value.is_empty()).map(|value| (name, value));
        let mut named: Vec<_> = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().filter_map(set).collect();
        let bundle = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"].into_iter().find_map(set);
        let unread = bundle.as_ref().map(|(name, _)| *name).filter(|_| !named.is_empty());
        if named.is_empty() {
            named.extend(bundle);
        }
        Self { named, unread, is_blank: variable("SSL_CERT_FILE").is_some_and(|value| value.is_empty()) }
    }

    /// The authorities that are named, or else the machine's own, or Mozilla's where it has none. Reads files.
    ///
    /// # Errors
    ///
    /// A variable names what cannot be read, or holds no certificate: to believe others in its place would be to believe
    /// whom the user did not name.
    fn authorities(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        if self.named.is_empty() {
            roots.add_parsable_certificates(self.machine());
            if roots.is_empty() {
                roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
            return Ok(roots);
        }
        for (name, value) in &self.named {
            let paths: Vec<PathBuf> = match *name {
                "SSL_CERT_DIR" => std::env::split_paths(value).filter(|path| !path.as_os_str().is_empty()).collect(),
                _ => vec![value.into()],
            };
            let mut added = 0;
            for path in paths {
                let refused = |why: &dyn std::fmt::Display| {
                    Error::argument(format!("the environment variable {name} names {}, {why}", path.display()))
                };
                let unreadable = |error: std::io::Error| refused(&format_args!("which cannot be read: {error}"));
                let is_folder = std::fs::metadata(&path).map_err(unreadable)?.is_dir();
                let read = match is_folder {
                    true => std::fs::read_dir(&path).map(drop),
                    false => std::fs::File::open(&path).map(drop),
                };
                read.map_err(unreadable)?;
                let (file, folder) = if is_folder { (None, Some(&*path)) } else { (Some(&*path), None) };
                let found = rustls_native_certs::load_certs_from_paths(file, folder).certs;
                let (usable, _) = roots.add_parsable_certificates(found);
                if usable == 0 && !is_folder {
                    return Err(refused(&"which holds no certificate"));
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

    fn machine(&self) -> Vec<CertificateDer<'static>> {
        // That function takes a variable that is there and empty for the name of a file.
        #[cfg(all(unix, not(target_vendor = "apple")))]
        if self.is_blank {
            let places = openssl_probe::probe();
            let folder = places.cert_dir.first().map(PathBuf::as_path);
            return rustls_native_certs::load_certs_from_paths(places.cert_file.as_deref(), folder).certs;
        }
        rustls_native_certs::load_native_certs().certs
    }
}

/// A client's own certificate, and the key to it.
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
    /// A certificate with those that lead to its authority, and its key, both as PEM.
    ///
    /// # Errors
    ///
    /// Whether it is about the key, and what is wrong. It never shows the key.
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

/// Believes every certificate; the handshake itself is still checked.
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
