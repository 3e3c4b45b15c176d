//! QUIC as peers use it: TLS 1.3 with certificates on both sides, always; one socket for dialling and for being dialled.

use super::PEER_SILENCE_MAX;
use super::faults::{CutSocket, Cuts};
use crate::identity::Bundle;
use anyhow::Context as _;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, EndpointConfig, Runtime, ServerConfig, TokioRuntime, TransportConfig};
use ring::hmac;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// What peers speak. Another number is another, incompatible protocol.
const ALPN: &[u8] = b"meridian/1";
/// How often a connection without traffic says that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Bytes that a peer may send on one stream before they were read.
const STREAM_WINDOW: u32 = 8 << 20;
/// Bytes that a peer may send on all streams before they were read, and that wait for a peer's acknowledgement.
const CONNECTION_WINDOW: u32 = 32 << 20;
/// Handshakes that may be under way at a time; further ones are refused.
const HANDSHAKES_MAX: usize = 64;

/// The endpoint, and how to dial from it.
pub(super) struct Wire {
    pub(super) endpoint: Endpoint,
    pub(super) dialling: ClientConfig,
}

/// Listens for peers on a bound socket. To be called within the runtime that is to drive it.
pub(super) fn listen(bundle: &Bundle, socket: UdpSocket, cuts: Option<Arc<Cuts>>) -> anyhow::Result<Wire> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(bundle.authority.clone()).context("the authority's certificate cannot be used")?;
    let roots = Arc::new(roots);
    let transport = Arc::new(transport());
    let mut server = ServerConfig::with_crypto(Arc::new(server_crypto(bundle, &roots, &provider)?));
    server.transport_config(transport.clone()).max_incoming(HANDSHAKES_MAX).migration(false);
    let mut dialling = ClientConfig::new(Arc::new(client_crypto(bundle, roots, provider)?));
    dialling.transport_config(transport);
    // A node that starts again can tell its peers at once that their connections are gone.
    let mut seed = b"meridian stateless reset".to_vec();
    seed.extend_from_slice(&bundle.node().0.to_be_bytes());
    let secret = hmac::Key::new(hmac::HMAC_SHA256, &bundle.cluster.secret);
    let reset_key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&secret, &seed).as_ref());
    let config = EndpointConfig::new(Arc::new(reset_key));
    let mut socket = TokioRuntime.wrap_udp_socket(socket)?;
    if let Some(cuts) = cuts {
        socket = Arc::new(CutSocket { socket, cuts });
    }
    let endpoint = Endpoint::new_with_abstract_socket(config, Some(server), socket, Arc::new(TokioRuntime))?;
    Ok(Wire { endpoint, dialling })
}

/// Binds the address for peers.
pub(super) fn bind(address: SocketAddr) -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind(address).with_context(|| {
        format!("{address}/udp cannot be listened on: is another process there? (--peer)")
    })?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(64_u32.into())
        .max_concurrent_uni_streams(16_u32.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(u64::from(CONNECTION_WINDOW))
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(PEER_SILENCE_MAX.try_into().expect("some seconds fit")));
    transport
}

fn server_crypto(
    bundle: &Bundle,
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> anyhow::Result<QuicServerConfig> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build()?;
    let mut tls = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![bundle.certificate.clone()], bundle.key.clone_key())
        .context("the node's key does not fit its certificate")?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    Ok(tls.try_into()?)
}

fn client_crypto(
    bundle: &Bundle,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
) -> anyhow::Result<QuicClientConfig> {
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![bundle.certificate.clone()], bundle.key.clone_key())
        .context("the node's key does not fit its certificate")?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    Ok(tls.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::authority::Authority;
    use quinn::{Connection, ConnectionError};
    use std::net::Ipv4Addr;
    use tokio::time::timeout;

    const TIME_MAX: Duration = Duration::from_secs(10);

    fn bundles(names: [&str; 2]) -> [Bundle; 2] {
        let place = tempfile::tempdir().unwrap();
        Authority::init(place.path()).unwrap();
        let authority = Authority::read(place.path()).unwrap();
        names.map(|name| authority.issue(name, 1).unwrap())
    }

    fn wire(bundle: &Bundle) -> (Wire, SocketAddr) {
        let socket = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        (listen(bundle, socket, None).unwrap(), address)
    }

    /// How TLS is spoken by somebody who trusts the cluster and may have a certificate of it.
    fn dialler(trusts: &Bundle, shows: Option<&Bundle>, alpn: &[u8]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(trusts.authority.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let mut tls = match shows {
            Some(own) => {
                tls.with_client_auth_cert(vec![own.certificate.clone()], own.key.clone_key()).unwrap()
            }
            None => tls.with_no_client_auth(),
        };
        tls.alpn_protocols = vec![alpn.to_vec()];
        ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
    }

    /// Dials and is answered: how each side fared. A side that has a connection hears nothing for a while, or the end.
    async fn meet(
        own: &Wire,
        dialling: ClientConfig,
        to: (&Wire, SocketAddr),
        name: &str,
    ) -> (Result<Connection, ConnectionError>, Result<Connection, ConnectionError>) {
        let dialled = async {
            let connection = own.endpoint.connect_with(dialling, to.1, name).unwrap().await?;
            match timeout(Duration::from_millis(500), connection.closed()).await {
                Ok(ended) => Err(ended),
                Err(_) => Ok(connection),
            }
        };
        let answered = async { to.0.endpoint.accept().await.expect("it listens").await };
        timeout(TIME_MAX, async { tokio::join!(dialled, answered) }).await.expect("both come to an end")
    }

    /// The number of a TLS alert as QUIC closes a connection with it (RFC 9001 §4.8).
    fn alert(ended: Result<Connection, ConnectionError>) -> u64 {
        match ended.expect_err("the connection ends") {
            ConnectionError::ConnectionClosed(close) => close.error_code.into(),
            other => panic!("ended otherwise: {other}"),
        }
    }

    #[tokio::test]
    async fn a_missing_or_foreign_certificate_or_another_protocol_is_refused_and_the_next_is_served() {
        let [n1, n2] = bundles(["n1", "n2"]);
        let [foreign, _] = bundles(["n2", "n3"]);
        let ((server, address), (client, _)) = (wire(&n1), wire(&n2));
        let name = n1.cluster.server_name(n1.node());
        for (dialling, refused) in [
            (dialler(&n1, None, ALPN), 0x100 + 116),
            (dialler(&n1, Some(&foreign), ALPN), 0x100 + 48),
            (dialler(&n1, Some(&n2), b"h3"), 0x100 + 120),
        ] {
            let (dialled, answered) = meet(&client, dialling, (&server, address), &name).await;
            assert!(answered.is_err(), "the node takes nobody in");
            assert_eq!(alert(dialled), refused);
        }
        let (dialled, answered) = meet(&client, client.dialling.clone(), (&server, address), &name).await;
        let certificates = answered.expect("a member is taken in").peer_identity().expect("it has shown one");
        let certificates =
            certificates.downcast::<Vec<rustls::pki_types::CertificateDer<'_>>>().expect("certificates");
        assert_eq!(n1.cluster.node_of(&certificates[0]), Some(n2.node()));
        assert!(dialled.is_ok());
    }

    #[tokio::test]
    async fn a_member_that_is_not_the_one_who_was_dialled_is_left() {
        let [n1, n2] = bundles(["n1", "n2"]);
        let ((server, address), (client, _)) = (wire(&n1), wire(&n2));
        let dialling = client.dialling.clone();
        let other = n1.cluster.server_name(n2.node());
        let (dialled, _) = meet(&client, dialling, (&server, address), &other).await;
        assert!(matches!(dialled, Err(ConnectionError::TransportError(_))), "{dialled:?}");
    }
}
