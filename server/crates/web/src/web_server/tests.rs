//! Peers that a browser or a proxy never is, on raw sockets. Nothing here asserts that something was fast: a peer that must be closed is waited for.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Limits, bind, listen};

const ONE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Longer than every limit of these tests, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_hours(1);
const SHORT: Duration = Duration::from_millis(300);
/// Fits into no buffer on the way, and is one piece.
const LARGE: usize = 2 * 1024 * 1024;
/// How much of `/endless` the server has taken from us to send it.
static GIVEN: AtomicUsize = AtomicUsize::new(0);

/// Nothing is limited: each test sets what it is about.
fn limits() -> Limits {
    Limits {
        connections: 100,
        of_one_address: 100,
        proxies: Arc::default(),
        forwarding: Arc::default(),
        head: LONG,
        idle: LONG,
        unread: LONG,
    }
}

/// Serves until the guard is dropped.
fn serve(limits: Limits) -> (SocketAddr, DropGuard) {
    let page = |length: usize| get(move || async move { Bytes::from(vec![b'x'; length]) });
    let slow = get(|| async { tokio::time::sleep(4 * SHORT).await });
    let endless = || async {
        Body::from_stream(stream::repeat_with(|| {
            GIVEN.fetch_add(1024, Ordering::Relaxed);
            Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 1024]))
        }))
    };
    let router = Router::new()
        .route("/", get(|| async { "here" }))
        .route("/page", page(10_000))
        .route("/large", page(LARGE))
        .route("/slow", slow)
        .route("/endless", get(endless));
    let listener = bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(listen(listener, router, limits, stop.clone()));
    (address, stop.drop_guard())
}

async fn connect(server: SocketAddr, from: Ipv4Addr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    // A peer that reads little has a small window.
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    socket.bind((from, 0).into()).unwrap();
    let peer = socket.connect(server).await.unwrap();
    peer.set_nodelay(true).unwrap();
    peer
}

async fn ask(peer: &mut TcpStream, path: &str) {
    peer.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
}

/// The next answer on the connection is the short one of `/`; false when the connection is closed instead.
async fn is_answered(peer: &mut TcpStream) -> bool {
    let mut answer = Vec::new();
    while !answer.ends_with(b"here") {
        match tokio::time::timeout(PATIENCE, peer.read_buf(&mut answer)).await.expect("neither an answer nor an end") {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
    }
    answer.starts_with(b"HTTP/1.1 200 ")
}

async fn asks_and_is_answered(server: SocketAddr, from: Ipv4Addr) -> bool {
    let mut peer = connect(server, from).await;
    ask(&mut peer, "/").await;
    is_answered(&mut peer).await
}

/// Until the server closes the connection; true if nothing came before.
async fn is_closed(peer: &mut TcpStream) -> bool {
    let mut rest = [0; 1024];
    tokio::time::timeout(PATIENCE, async { matches!(peer.read(&mut rest).await, Ok(0) | Err(_)) }).await.expect("still open")
}

/// HTTP/2 by hand: a peer that keeps the connection alive and does nothing else for it.
struct Http2(TcpStream);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;

/// What the server sent.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

impl Http2 {
    /// `window`: how much of each answer the peer takes before it says that it takes more.
    async fn connect(server: SocketAddr, window: u32) -> Self {
        let mut peer = connect(server, ONE).await;
        let mut settings = vec![0, 4];
        settings.extend(window.to_be_bytes());
        peer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        peer.write_all(&frame(SETTINGS, 0, 0, &settings)).await.unwrap();
        Self(peer)
    }

    async fn ask(&mut self, stream: u32, path: &str) {
        // GET, http, the path and an authority, by the static table without Huffman (RFC 7541 B).
        let mut head = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
        head.extend(path.as_bytes());
        head.extend([0x01, 1, b'x']);
        self.send(&frame(HEADERS, 0x4 | 0x1, stream, &head)).await.unwrap();
    }

    async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes).await
    }

    /// The next frame, or none when the server has closed. PINGs are answered.
    async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        tokio::time::timeout(PATIENCE, self.0.read_exact(&mut head)).await.expect("still open, and nothing comes").ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        let next = Frame { kind: head[3], flags: head[4], stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload };
        if next.kind == PING && next.flags & ACK == 0 {
            let _ = self.send(&frame(PING, ACK, 0, &next.payload)).await;
        }
        Some(next)
    }

    /// Answers PINGs, and sends some, until the server closes; what came till then.
    async fn until_closed(&mut self) -> Vec<Frame> {
        tokio::time::timeout(PATIENCE, async {
            let mut frames = Vec::new();
            while let Some(next) = self.next().await {
                frames.push(next);
                tokio::time::sleep(SHORT / 10).await;
                let _ = self.send(&frame(PING, 0, 0, &[7; 8])).await;
            }
            frames
        })
        .await
        .expect("still open")
    }
}

#[tokio::test]
async fn who_asks_and_never_reads_is_closed() {
    let (server, _stop) = serve(Limits { connections: 1, unread: SHORT, ..limits() });
    let mut peer = connect(server, ONE).await;
    for _ in 0..400 {
        ask(&mut peer, "/page").await;
    }
    assert!(asks_and_is_answered(server, ONE).await, "the only place was not given back");
}

/// What waits in the kernel hides how slowly a peer reads, and costs memory.
#[tokio::test]
async fn little_waits_for_who_does_not_read() {
    let (server, _stop) = serve(Limits { connections: 1, unread: SHORT, ..limits() });
    let mut peer = connect(server, ONE).await;
    ask(&mut peer, "/endless").await;
    assert!(asks_and_is_answered(server, ONE).await);
    let given = GIVEN.load(Ordering::Relaxed);
    assert!(given < 1024 * 1024, "{given} bytes");
}

#[tokio::test]
async fn who_reads_slowly_but_steadily_gets_all() {
    let (server, _stop) = serve(Limits { unread: Duration::from_secs(2), head: SHORT, idle: SHORT, ..limits() });
    let mut peer = connect(server, ONE).await;
    ask(&mut peer, "/large").await;
    let (mut read, mut piece) = (0, [0; 4096]);
    while read < LARGE {
        let came = peer.read(&mut piece).await.unwrap();
        assert!(came > 0, "closed after {read} bytes");
        read += came;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_http2_answer_nobody_takes_ends_and_so_does_its_connection() {
    for window in [0, 1] {
        let (server, _stop) = serve(Limits { unread: SHORT, idle: SHORT, ..limits() });
        let mut peer = Http2::connect(server, window).await;
        peer.ask(1, "/large").await;
        // Fits into the last piece: nothing but the connection's idle time ends it.
        peer.ask(3, "/page").await;
        let frames = peer.until_closed().await;
        assert!(frames.iter().any(|frame| frame.kind == RST_STREAM && frame.stream == 1), "window {window}");
    }
}

#[tokio::test]
async fn a_stream_nobody_reads_ends_without_the_others() {
    let (server, _stop) = serve(Limits { unread: SHORT, ..limits() });
    let mut peer = Http2::connect(server, 0).await;
    peer.ask(1, "/large").await;
    peer.ask(3, "/slow").await;
    let mut ended = Vec::new();
    while ended.len() < 2 {
        let next = peer.next().await.expect("the connection stays");
        let is_end = next.kind == RST_STREAM || (matches!(next.kind, DATA | HEADERS) && next.flags & 1 == 1);
        ended.extend(is_end.then_some((next.stream, next.kind == RST_STREAM)));
    }
    assert_eq!(ended, [(1, true), (3, false)]);
}

#[tokio::test]
async fn who_takes_an_http2_answer_in_crumbs_gets_all() {
    let (server, _stop) = serve(Limits { unread: 4 * SHORT, idle: SHORT, ..limits() });
    let mut peer = Http2::connect(server, 1024).await;
    peer.ask(1, "/large").await;
    let mut read = 0;
    while read < LARGE {
        let next = peer.next().await.expect("the connection stays");
        if next.kind == DATA && !next.payload.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            read += next.payload.len();
            let more = u32::try_from(next.payload.len()).unwrap().to_be_bytes();
            for stream in [0, 1] {
                peer.send(&frame(WINDOW_UPDATE, 0, stream, &more)).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn who_only_answers_pings_is_closed_after_the_idle_time() {
    let (server, _stop) = serve(Limits { idle: SHORT, ..limits() });
    let mut peer = Http2::connect(server, 65_535).await;
    peer.ask(1, "/").await;
    let frames = peer.until_closed().await;
    assert!(frames.iter().any(|frame| frame.kind == DATA && frame.payload == b"here"));
}

#[tokio::test]
async fn an_answer_that_takes_long_is_not_idle() {
    let (server, _stop) = serve(Limits { idle: SHORT, head: SHORT, unread: SHORT, ..limits() });
    let mut peer = connect(server, ONE).await;
    ask(&mut peer, "/slow").await;
    let mut answer = [0; 15];
    peer.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
}

#[tokio::test]
async fn a_kept_connection_that_is_used_now_and_then_stays() {
    let (server, _stop) = serve(Limits { idle: 40 * SHORT, head: SHORT, ..limits() });
    let mut peer = connect(server, ONE).await;
    for _ in 0..3 {
        ask(&mut peer, "/").await;
        assert!(is_answered(&mut peer).await);
        tokio::time::sleep(3 * SHORT).await;
    }
}

#[tokio::test]
async fn a_kept_connection_ends_when_it_is_idle_or_a_head_stays_half() {
    for (limits, sent) in [(Limits { idle: SHORT, ..limits() }, ""), (Limits { head: SHORT, ..limits() }, "GET / HTTP/1.1\r\nHos")] {
        let (server, _stop) = serve(limits);
        let mut peer = connect(server, ONE).await;
        ask(&mut peer, "/").await;
        assert!(is_answered(&mut peer).await);
        peer.write_all(sent.as_bytes()).await.unwrap();
        assert!(is_closed(&mut peer).await, "{sent:?}");
    }
}

/// The half comes with the request before it, so that no further byte tells of it.
#[tokio::test]
async fn half_a_head_behind_a_request_is_no_idleness() {
    let (server, _stop) = serve(Limits { head: SHORT, ..limits() });
    let mut peer = connect(server, ONE).await;
    peer.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhos").await.unwrap();
    assert!(is_answered(&mut peer).await);
    assert!(is_closed(&mut peer).await);
}

#[tokio::test]
async fn who_never_asks_is_closed() {
    for sent in ["", "GET / HT", "PRI * HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0"] {
        let (server, _stop) = serve(Limits { connections: 1, head: SHORT, ..limits() });
        let mut peer = connect(server, ONE).await;
        peer.write_all(sent.as_bytes()).await.unwrap();
        assert!(asks_and_is_answered(server, ONE).await, "{sent:?}");
    }
}

#[tokio::test]
async fn one_address_cannot_take_all_places() {
    let (server, _stop) = serve(Limits { connections: 4, of_one_address: 2, ..limits() });
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut peer = connect(server, ONE).await;
        ask(&mut peer, "/").await;
        assert!(is_answered(&mut peer).await);
        held.push(peer);
    }
    assert!(is_closed(&mut connect(server, ONE).await).await, "a third place for one address");
    assert!(asks_and_is_answered(server, OTHER).await);
    // A place that was given back can be taken again, as soon as the server knows.
    held.clear();
    tokio::time::timeout(PATIENCE, async { while !asks_and_is_answered(server, ONE).await {} }).await.expect("no place again");
}

#[tokio::test]
async fn a_proxy_may_take_all_places() {
    let (server, _stop) = serve(Limits { of_one_address: 1, ..limits() }.behind(&[IpAddr::from(OTHER).into()]));
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut peer = connect(server, OTHER).await;
        ask(&mut peer, "/").await;
        assert!(is_answered(&mut peer).await);
        held.push(peer);
    }
}

#[tokio::test]
async fn a_full_listener_takes_nothing_from_another() {
    let (public, _stop) = serve(Limits { connections: 1, ..limits() });
    let (admin, _stop_admin) = serve(limits());
    let mut held = connect(public, ONE).await;
    ask(&mut held, "/").await;
    assert!(is_answered(&mut held).await);
    assert!(asks_and_is_answered(admin, ONE).await);
}

#[tokio::test]
async fn floods_of_frames_that_ask_for_nothing_are_refused() {
    let mut read_to_the_end = Vec::new();
    for (kind, flags, stream, payload) in [
        (PRIORITY, 0, 5, &[0, 0, 0, 0, 1][..]),
        (WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        (SETTINGS, 0, 0, &[]),
        (PING, ACK, 0, &[0; 8]),
        (PING, 0, 0, &[0; 8]),
        (RST_STREAM, 0, 1, &[0, 0, 0, 8]),
        // No known kind.
        (0xee, 0, 0, &[]),
    ] {
        let (server, _stop) = serve(limits());
        let mut peer = Http2::connect(server, 65_535).await;
        peer.ask(1, "/").await;
        // The server may close while this is sent.
        let _ = peer.send(&frame(kind, flags, stream, payload).repeat(2_000)).await;
        let _ = peer.send(&frame(PING, 0, 0, b"are you?")).await;
        while let Some(next) = peer.next().await {
            if next.kind == PING && next.payload == b"are you?" {
                read_to_the_end.push((kind, flags));
                break;
            }
        }
    }
    assert_eq!(read_to_the_end, []);
}
