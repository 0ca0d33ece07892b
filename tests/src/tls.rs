//! Serves a router over TLS or plain HTTP on loopback, for the simulated outside systems.
//!
//! It exists because `axum::serve` speaks no TLS and cannot cut a connection in mid-air, which tests need.
//! It must know nothing of any particular system, and its certificates must never be trusted outside this process.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::{ServerConfig, version};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
const HEADER_LIMIT: Duration = Duration::from_secs(30);

/// A fresh key with a self-signed certificate for `localhost` and `127.0.0.1`.
#[derive(Clone)]
pub struct Identity {
    server_config: Arc<ServerConfig>,
    certificate_pem: String,
}

impl Identity {
    /// Makes a new key and certificate.
    pub fn self_signed() -> anyhow::Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()])?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        // The provider is named here: a process-wide one may not be installed yet.
        let mut server_config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())?;
        server_config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { server_config: Arc::new(server_config), certificate_pem: made.cert.pem() })
    }

    /// The certificate in PEM, for a client that shall trust it.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }
}

/// Put into a response's extensions: the connection is closed and not one byte of the response is sent.
#[derive(Clone, Copy, Debug)]
pub struct CloseWithoutAnswer;

#[derive(Debug)]
struct ClosedWithoutAnswer;

impl std::fmt::Display for ClosedWithoutAnswer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the connection was closed on purpose")
    }
}

impl std::error::Error for ClosedWithoutAnswer {}

/// Serves `router` over HTTP/1.1, with TLS when an identity is given, until `stop` is cancelled.
/// Returns when every connection is gone; requests under way are cut off.
pub async fn serve(listener: TcpListener, identity: Option<Identity>, router: Router, stop: CancellationToken) {
    let acceptor = identity.map(|identity| TlsAcceptor::from(identity.server_config));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _peer)) => {
                let connection = serve_connection(stream, acceptor.clone(), router.clone());
                connections.spawn(stop.clone().run_until_cancelled_owned(connection));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                // Out of file descriptors: give the connections under way time to end.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

async fn serve_connection(stream: TcpStream, acceptor: Option<TlsAcceptor>, router: Router) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let Some(acceptor) = acceptor else {
        return serve_stream(stream, router).await;
    };
    match tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => serve_stream(stream, router).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake took too long"),
    }
}

async fn serve_stream(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let router = router.clone();
        async move {
            let answered: Result<Response, Infallible> = router.oneshot(request.map(Body::new)).await;
            let Ok(response) = answered;
            if response.extensions().get::<CloseWithoutAnswer>().is_some() {
                return Err(ClosedWithoutAnswer);
            }
            Ok(response)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended early");
    }
}
