//! Certificates for TLS, made for one server and known to nobody else.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// An authority of its own, and a certificate of it for `localhost` and 127.0.0.1.
#[derive(Clone, Debug)]
pub struct Certificates {
    authority: String,
    certificate: String,
    key: String,
}

impl Certificates {
    /// Some, where they are wanted.
    ///
    /// # Panics
    /// If they cannot be made.
    pub(crate) fn wanted(wanted: bool) -> Option<Self> {
        wanted.then(|| match Self::new() {
            Ok(certificates) => certificates,
            Err(error) => panic!("no certificates could be made: {error}"),
        })
    }

    pub(crate) const AUTHORITY_FILE: &str = "authority.pem";
    pub(crate) const CERTIFICATE_FILE: &str = "certificate.pem";
    pub(crate) const KEY_FILE: &str = "key.pem";

    pub(crate) fn new() -> Result<Self, rcgen::Error> {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority
            .distinguished_name
            .push(DnType::CommonName, "a test's authority");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
        Ok(Self {
            authority: authority.pem(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// The authority's certificate in PEM: what a client has to trust.
    pub fn authority_pem(&self) -> &str {
        &self.authority
    }

    /// Key and certificate in one text, for servers that want them in one file.
    pub(crate) fn key_and_certificate_pem(&self) -> String {
        format!("{}{}", self.key, self.certificate)
    }

    pub(crate) fn write_to(&self, directory: &Path) -> std::io::Result<()> {
        std::fs::write(directory.join(Self::AUTHORITY_FILE), &self.authority)?;
        std::fs::write(directory.join(Self::CERTIFICATE_FILE), &self.certificate)?;
        std::fs::write(directory.join(Self::KEY_FILE), &self.key)
    }
}
