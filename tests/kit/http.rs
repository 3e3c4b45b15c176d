//! A small HTTP/1.1 client over a plain socket: tests must be able to send what no library would.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take.
const TIME_MAX: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The context: what its client has seen.
    ///
    /// # Panics
    /// When there is none.
    pub fn context(&self) -> String {
        self.header("meridian-context").expect("it tells what was seen").to_string()
    }

    /// A field of a JSON body whose value is a string or a word; empty if it has none.
    pub fn field(&self, name: &str) -> String {
        let text = self.text();
        let Some(rest) = text.split(&format!("\"{name}\":")).nth(1) else { return String::new() };
        let end = rest.find([',', '}']).unwrap_or(rest.len());
        rest[..end].trim_matches('"').to_string()
    }
}

/// A connection, kept alive from request to request.
pub struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn connect(address: SocketAddr) -> Result<Client> {
        let stream = TcpStream::connect_timeout(&address, TIME_MAX).context("connecting")?;
        stream.set_read_timeout(Some(TIME_MAX))?;
        stream.set_write_timeout(Some(TIME_MAX))?;
        stream.set_nodelay(true)?;
        Ok(Client { stream, unread: Vec::new() })
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// When the connection breaks off or the answer is not one.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer> {
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head += "host: 127.0.0.1\r\n";
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() || matches!(method, "PUT" | "POST") {
            head += &format!("content-length: {}\r\n", body.len());
        }
        head += "\r\n";
        self.send(&[head.as_bytes(), body].concat())?;
        self.answer(method == "HEAD")
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection breaks off.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("sending")
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// When the connection breaks off or the answer is not one.
    pub fn answer(&mut self, to_head: bool) -> Result<Answer> {
        let end = loop {
            match self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(end) => break end,
                None => ensure!(self.read_more()? > 0, "the connection ended before the answer's head did"),
            }
        };
        let rest = self.unread.split_off(end + 4);
        let head =
            String::from_utf8(std::mem::replace(&mut self.unread, rest)).context("the head is text")?;
        let mut answer = parse(&head)?;
        let bodiless = to_head || matches!(answer.status, 100 | 204 | 304);
        if !bodiless {
            let bytes = answer.header("content-length").context("an answer has a length")?.parse()?;
            while self.unread.len() < bytes {
                ensure!(self.read_more()? > 0, "the connection ended within the answer's body");
            }
            let rest = self.unread.split_off(bytes);
            answer.body = std::mem::replace(&mut self.unread, rest);
        }
        Ok(answer)
    }

    /// Whether the other side has ended the connection, with nothing more to say.
    ///
    /// # Errors
    /// When it says something, or nothing for too long.
    pub fn has_ended(&mut self) -> Result<()> {
        match self.read_more() {
            Ok(0) => Ok(()),
            Ok(_) => bail!("more came: {}", String::from_utf8_lossy(&self.unread)),
            Err(error) => Err(error),
        }
    }

    fn read_more(&mut self) -> Result<usize> {
        let mut buffer = [0; 16 << 10];
        let bytes = self.stream.read(&mut buffer).context("reading")?;
        self.unread.extend_from_slice(&buffer[..bytes]);
        Ok(bytes)
    }
}

fn parse(head: &str) -> Result<Answer> {
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let status = status.with_context(|| format!("{first:?} begins no answer"))?.parse()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':').with_context(|| format!("{line:?} is no header"))?;
        Ok((name.to_ascii_lowercase(), value.trim().to_string()))
    };
    let headers = lines.filter(|line| !line.is_empty()).map(header).collect::<Result<_>>()?;
    Ok(Answer { status, headers, body: Vec::new() })
}
