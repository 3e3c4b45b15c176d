//! The certificate authority of a cluster: `meridian tls init` makes it, `meridian tls issue` makes nodes of it.

use super::{
    AUTHORITY_FILE, Bundle, CERTIFICATE_FILE, CLUSTER_FILE, Cluster, IdentityError,
    KEY_FILE as NODE_KEY_FILE, read, read_certificate,
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// The authority's private key.
pub(super) const KEY_FILE: &str = "ca.key";
/// How long an authority is valid.
const AUTHORITY_DAYS: i64 = 3650;
/// How long a node's certificate is valid if nobody says otherwise.
pub const NODE_DAYS: u16 = 825;
/// How far clocks may be behind that of the machine which issues.
const BACKDATED: Duration = Duration::days(1);

/// An authority that can issue.
pub struct Authority {
    cluster: Cluster,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes the authority of a new cluster in `directory`.
    ///
    /// # Errors
    /// One is there already, or [`IdentityError`].
    pub fn init(directory: &Path) -> Result<Uuid, IdentityError> {
        let cluster = Cluster { id: draw_id()?, secret: draw()? };
        let key = KeyPair::generate()?;
        let mut params = params(format!("Meridian cluster {}", cluster.id), AUTHORITY_DAYS);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        make_directory(directory)?;
        write_new(&directory.join(KEY_FILE), key.serialize_pem().as_bytes(), 0o600)?;
        write_new(&directory.join(AUTHORITY_FILE), certificate.pem().as_bytes(), 0o644)?;
        // Last: a directory that has it is whole.
        write_new(&directory.join(CLUSTER_FILE), &cluster.to_json(), 0o600)?;
        Ok(cluster.id)
    }

    /// Reads the authority in `directory`.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn read(directory: &Path) -> Result<Authority, IdentityError> {
        let cluster = Cluster::read(directory)?;
        let path = directory.join(KEY_FILE);
        let unusable = |why: String| IdentityError::Unusable { path: path.clone(), why };
        let key = String::from_utf8(read(&path)?).map_err(|_| unusable("it is not text".into()))?;
        let key = KeyPair::from_pem(&key).map_err(|error| unusable(error.to_string()))?;
        let certificate = read_certificate(&directory.join(AUTHORITY_FILE))?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Authority { cluster, certificate, issuer })
    }

    /// Makes a certificate for the node `name`.
    ///
    /// # Errors
    /// [`IdentityError::Certificate`].
    pub fn issue(&self, name: &str, days: u16) -> Result<Bundle, IdentityError> {
        let (certificate, key) = self.sign(name, days)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let (cluster, authority) = (self.cluster.clone(), self.certificate.clone());
        let bundle = Bundle::of(cluster, name, authority, certificate.der().clone(), key);
        Ok(bundle.expect("a certificate that was made for a name is that name's"))
    }

    /// Writes a bundle for the node `name` into a new directory.
    ///
    /// # Errors
    /// There is something already, or [`IdentityError`].
    pub fn issue_into(&self, directory: &Path, name: &str, days: u16) -> Result<(), IdentityError> {
        let (certificate, key) = self.sign(name, days)?;
        make_directory(directory)?;
        write_new(&directory.join(NODE_KEY_FILE), key.serialize_pem().as_bytes(), 0o600)?;
        write_new(&directory.join(CERTIFICATE_FILE), certificate.pem().as_bytes(), 0o644)?;
        let authority = pem::encode(&pem::Pem::new("CERTIFICATE", self.certificate.to_vec()));
        write_new(&directory.join(AUTHORITY_FILE), authority.as_bytes(), 0o644)?;
        write_new(&directory.join(CLUSTER_FILE), &self.cluster.to_json(), 0o600)
    }

    fn sign(&self, name: &str, days: u16) -> Result<(rcgen::Certificate, KeyPair), IdentityError> {
        let key = KeyPair::generate()?;
        let mut params = params(format!("Meridian node {name}"), i64::from(days));
        for name in [self.cluster.server_name(self.cluster.node_id(name)), self.cluster.shared_name()] {
            params.subject_alt_names.push(rcgen::SanType::DnsName(name.try_into()?));
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((certificate, key))
    }
}

fn params(name: String, days: i64) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = now - BACKDATED;
    params.not_after = now + Duration::days(days);
    params
}

fn draw<const BYTES: usize>() -> Result<[u8; BYTES], IdentityError> {
    let mut bytes = [0; BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| IdentityError::NoRandomness)?;
    Ok(bytes)
}

fn draw_id() -> Result<Uuid, IdentityError> {
    Ok(uuid::Builder::from_random_bytes(draw()?).into_uuid())
}

fn make_directory(path: &Path) -> Result<(), IdentityError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| IdentityError::Io { path: path.to_owned(), error })
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), IdentityError> {
    let at = |error| IdentityError::Io { path: PathBuf::from(path), error };
    let mut file = match OpenOptions::new().create_new(true).write(true).mode(mode).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(IdentityError::Exists { path: path.to_owned() });
        }
        opened => opened.map_err(at)?,
    };
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(at)
}
