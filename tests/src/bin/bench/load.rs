//! The load: so many senders, each on one kept-alive connection, each with the next ready-made request as soon as its last
//! is answered.
//!
//! Cheap and the same for everybody measured: requests are bytes made beforehand, of an answer only status and length
//! are read, and all senders share one thread. Must know nothing of what it sends.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// The whole load; a server that hangs must not hang the bench.
const LIMIT: Duration = Duration::from_mins(2);
/// Longest head of an answer.
const MOST_HEAD: usize = 16 * 1_024;

/// Requests as they go over the wire.
pub type Requests = std::sync::Arc<Vec<Vec<u8>>>;

/// How a load went.
pub struct Measured {
    /// Answered requests in a second.
    pub per_second: f64,
    /// Time from sending to the whole answer of every request, shortest first.
    latencies: Vec<Duration>,
}

impl Measured {
    /// The time within which half of the requests were answered.
    pub fn p50(&self) -> Duration {
        self.latencies.get(self.latencies.len() / 2).copied().unwrap_or_default()
    }

    /// The time within which 99 of 100 requests were answered.
    pub fn p99(&self) -> Duration {
        self.latencies.get(self.latencies.len() * 99 / 100).copied().unwrap_or_default()
    }
}

/// Form data as a browser or an appliance would post it.
pub fn form_post(target: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {target} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         accept-language: en-GB,en;q=0.8\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Sends all requests by `senders` senders; fails if one is not answered with 200.
pub async fn send(address: SocketAddr, requests: Requests, senders: usize) -> Result<Measured> {
    // A runtime of its own on a thread of its own: it pays for no other task's wake-ups.
    let sending = move || -> Result<Measured> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let load = send_here(address, &requests, senders);
        runtime.block_on(async { tokio::time::timeout(LIMIT, load).await.context("the load did not end in time")? })
    };
    tokio::task::spawn_blocking(sending).await.context("the load broke off")?
}

/// Sends one request and answers the status.
pub async fn send_one(address: SocketAddr, request: &[u8]) -> Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request).await?;
    read_answer(&mut stream, &mut Vec::new()).await
}

async fn send_here(address: SocketAddr, requests: &[Vec<u8>], senders: usize) -> Result<Measured> {
    let mut streams = try_join_all((0..senders).map(|_| TcpStream::connect(address))).await?;
    let next = Cell::new(0);
    let begun = Instant::now();
    let latencies = try_join_all(streams.iter_mut().map(|stream| keep_sending(stream, requests, &next))).await?;
    let elapsed = begun.elapsed();
    let mut latencies = latencies.concat();
    latencies.sort_unstable();
    Ok(Measured { per_second: latencies.len() as f64 / elapsed.as_secs_f64(), latencies })
}

async fn keep_sending(stream: &mut TcpStream, requests: &[Vec<u8>], next: &Cell<usize>) -> Result<Vec<Duration>> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(MOST_HEAD);
    let mut latencies = Vec::new();
    while let Some(request) = requests.get(next.get()) {
        next.set(next.get() + 1);
        let begun = Instant::now();
        stream.write_all(request).await?;
        let status = read_answer(stream, &mut buffer).await?;
        ensure!(status == 200, "a request was answered with {status}");
        latencies.push(begun.elapsed());
    }
    Ok(latencies)
}

/// Reads one answer with a `content-length` to its end; answers the status.
async fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<u16> {
    const END: &[u8] = b"\r\n\r\n";
    buffer.clear();
    let head = loop {
        ensure!(stream.read_buf(buffer).await? > 0, "the connection was closed before the answer");
        if let Some(position) = buffer.windows(END.len()).position(|bytes| bytes == END) {
            break position;
        }
        ensure!(buffer.len() < MOST_HEAD, "the answer's head does not end");
    };
    let (status, length) = read_head(&buffer[..head])?;
    let whole = head + END.len() + length;
    while buffer.len() < whole {
        ensure!(stream.read_buf(buffer).await? > 0, "the connection was closed within the answer");
    }
    ensure!(buffer.len() == whole, "more was answered than was asked for");
    Ok(status)
}

/// Status and `content-length` of an answer's head.
fn read_head(head: &[u8]) -> Result<(u16, usize)> {
    let head = std::str::from_utf8(head).context("the answer's head is not text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?.parse()?;
    let mut fields = lines.filter_map(|line| line.split_once(':'));
    let (_, length) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length")).context("no content-length")?;
    Ok((status, length.trim().parse()?))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn answers_are_read_to_their_end_and_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for answer in ["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] {
                let mut request = [0; 4];
                stream.read_exact(&mut request).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
                if &request == b"one." {
                    // The body arrives behind the head.
                    tokio::task::yield_now().await;
                    stream.write_all(b"abc").await.unwrap();
                }
            }
        });
        let requests = Requests::new(vec![b"one.".to_vec(), b"two.".to_vec()]);
        let measured = send(address, requests, 1).await.unwrap();
        server.await.unwrap();
        assert_eq!(measured.latencies.len(), 2);
        assert_eq!(measured.p99(), measured.latencies[1]);
    }

    #[test]
    fn a_head_tells_status_and_length() {
        assert_eq!(read_head(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 12\r\nx: y").unwrap(), (403, 12));
        assert!(read_head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked").is_err());
    }
}
