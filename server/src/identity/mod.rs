//! Who a node is: a cluster is its certificate authority, and a node is a certificate of it.
//!
//! | directory | files | who has it |
//! |---|---|---|
//! | the authority's | `cluster.json`, `ca.pem`, `ca.key` | whoever adds nodes (`authority`) |
//! | a node's bundle | `cluster.json`, `ca.pem`, `node.pem`, `node.key` | the node: `--tls-dir` |
//!
//! - The cluster's id names it; its secret keys tokens and proves to a peer that both are of one cluster.
//! - A node's id is UUIDv5 of the cluster's id and the node's name, and stands in its certificate: the same name is the
//!   same member, also on an empty disk.
//! - Without a bundle a node uses the *development authority* of this user on this machine (`development`).

pub mod authority;
pub mod development;

use meridian_core::id::NodeId;
use meridian_core::merkle::Seed;
use ring::hmac;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use uuid::Uuid;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

const CLUSTER_FILE: &str = "cluster.json";
const AUTHORITY_FILE: &str = "ca.pem";
const CERTIFICATE_FILE: &str = "node.pem";
const KEY_FILE: &str = "node.key";
/// What every certificate's names end with.
const DOMAIN: &str = "meridian";

/// What all nodes of a cluster know, and nobody else.
#[derive(Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its name.
    pub id: Uuid,
    /// Keys tokens, and proves to peers that a node is of this cluster.
    pub secret: [u8; 32],
}

impl Cluster {
    /// The seed of digests, made from the secret: a node that does not know it cannot make equal ones.
    pub fn digest_seed(&self) -> Seed {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        let tag = hmac::sign(&key, b"meridian digests");
        let (seed, _) = tag.as_ref().split_first_chunk().expect("a tag has 32 bytes");
        Seed(u64::from_be_bytes(*seed))
    }
}

/// `cluster.json`.
#[derive(Deserialize, Serialize)]
struct ClusterFile {
    cluster: Uuid,
    /// In hexadecimal digits.
    secret: String,
}

/// What one node shows to others, and by what it knows them.
pub struct Bundle {
    /// The cluster.
    pub cluster: Cluster,
    /// The node's name.
    pub name: String,
    /// The certificate of the cluster's authority.
    pub authority: CertificateDer<'static>,
    /// The node's certificate.
    pub certificate: CertificateDer<'static>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
    /// When the certificate expires, in seconds since 1970.
    pub expires: i64,
}

/// Why there is no identity to use.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file is missing or cannot be read or written.
    #[error("{path}: {error}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {why}", path = .path.display())]
    Unusable {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// There is something already.
    #[error("{path} is there already, and is not overwritten", path = .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Where this user's files lie is not known.
    #[error(
        "neither XDG_DATA_HOME nor HOME is set, so there is no place for a development authority: set one, or give \
         --tls-dir with what `meridian tls issue` made"
    )]
    NoHome,
    /// Certificates cannot be made.
    #[error("a certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The system gave no random bytes.
    #[error("the system has no random bytes to give")]
    NoRandomness,
}

impl Cluster {
    /// The id of the node that is called `name`.
    pub fn node_id(&self, name: &str) -> NodeId {
        NodeId(Uuid::new_v5(&self.id, name.as_bytes()).as_u128())
    }

    /// The name in a node's certificate that only this node has.
    pub fn server_name(&self, node: NodeId) -> String {
        format!("{}.{}.{DOMAIN}", Uuid::from_u128(node.0), self.id)
    }

    /// The name that stands in every certificate of the cluster.
    pub fn shared_name(&self) -> String {
        format!("{}.{DOMAIN}", self.id)
    }

    /// Which node a certificate of this cluster belongs to; `None` for one that names none.
    pub fn node_of(&self, certificate: &CertificateDer<'_>) -> Option<NodeId> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let names = parsed.subject_alternative_name().ok()??;
        let end = format!(".{}", self.shared_name());
        names.value.general_names.iter().find_map(|name| match name {
            GeneralName::DNSName(name) => {
                let id: Uuid = name.strip_suffix(&end)?.parse().ok()?;
                Some(NodeId(id.as_u128()))
            }
            _ => None,
        })
    }

    fn read(directory: &Path) -> Result<Cluster, IdentityError> {
        let path = directory.join(CLUSTER_FILE);
        let unusable = |why: String| IdentityError::Unusable { path: path.clone(), why };
        let file: ClusterFile =
            serde_json::from_slice(&read(&path)?).map_err(|error| unusable(error.to_string()))?;
        let secret =
            from_hex(&file.secret).ok_or_else(|| unusable("the secret is not 64 hex digits".into()))?;
        Ok(Cluster { id: file.cluster, secret })
    }

    fn to_json(&self) -> Vec<u8> {
        let secret = self.secret.iter().map(|byte| format!("{byte:02x}")).collect();
        serde_json::to_vec_pretty(&ClusterFile { cluster: self.id, secret }).expect("strings can be written")
    }
}

impl Bundle {
    /// Reads the bundle of the node `name` that `meridian tls issue` wrote.
    ///
    /// # Errors
    /// [`IdentityError`]: a file is missing or unusable, or the bundle is another node's.
    pub fn read(directory: &Path, name: &str) -> Result<Bundle, IdentityError> {
        if directory.join(authority::KEY_FILE).exists() && !directory.join(KEY_FILE).exists() {
            let why = format!(
                "this is the authority's directory, and a node needs a bundle of its own: run `meridian tls issue \
                 {name} --dir {}`, and give the directory that it names",
                directory.display()
            );
            return Err(IdentityError::Unusable { path: directory.to_owned(), why });
        }
        let cluster = Cluster::read(directory)?;
        let key_path = directory.join(KEY_FILE);
        let key = PrivateKeyDer::from_pem_slice(&read(&key_path)?)
            .map_err(|error| IdentityError::Unusable { path: key_path, why: error.to_string() })?;
        let authority = read_certificate(&directory.join(AUTHORITY_FILE))?;
        let certificate = read_certificate(&directory.join(CERTIFICATE_FILE))?;
        Bundle::of(cluster, name, authority, certificate, key)
            .map_err(|why| IdentityError::Unusable { path: directory.join(CERTIFICATE_FILE), why })
    }

    /// Puts the parts together. The error says what does not fit.
    fn of(
        cluster: Cluster,
        name: &str,
        authority: CertificateDer<'static>,
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Bundle, String> {
        let expires = match X509Certificate::from_der(&certificate) {
            Ok((_, parsed)) => parsed.validity().not_after.timestamp(),
            Err(error) => return Err(format!("it is no certificate: {error}")),
        };
        match cluster.node_of(&certificate) {
            Some(node) if node == cluster.node_id(name) => {
                Ok(Bundle { cluster, name: name.into(), authority, certificate, key, expires })
            }
            _ => Err(format!(
                "the certificate is not that of the node {name:?} of cluster {}: start the node under the name that \
                 it was issued for, or issue one for {name:?}",
                cluster.id
            )),
        }
    }

    /// The node's id.
    pub fn node(&self) -> NodeId {
        self.cluster.node_id(&self.name)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    fs::read(path).map_err(|error| IdentityError::Io { path: path.to_owned(), error })
}

fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, IdentityError> {
    CertificateDer::from_pem_slice(&read(path)?)
        .map_err(|error| IdentityError::Unusable { path: path.to_owned(), why: error.to_string() })
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> =
        text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    if digits.len() == 64 { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests;
