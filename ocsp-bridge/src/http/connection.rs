//! One connection.

use std::future::{Future as _, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::server::ServerConfig;
use tokio_rustls::server::TlsStream;

use super::connections::{Connection, Told};
use super::head_timer::HeadTimer;
use super::{Service, route};

/// What one connection's task holds.
pub(super) struct Serving {
    pub(super) service: Arc<Service>,
    pub(super) connection: Connection,
    pub(super) client: SocketAddr,
    /// For TLS: the identity at the time when the client came.
    pub(super) tls: Option<Arc<ServerConfig>>,
}

/// How a connection came to its end.
enum End {
    /// hyper ended it: the client left, or asked for it.
    Http(hyper::Result<()>),
    /// The client took too long with a head, or stayed idle too long.
    Late,
    /// It had to make room.
    Evicted,
}

impl Serving {
    /// Serves the connection to its end.
    pub(super) async fn run(self, stream: TcpStream) {
        // Neither makes an answer wrong where it fails.
        let _nodelay = stream.set_nodelay(true);
        let _timeout = rustix::net::sockopt::set_tcp_user_timeout(&stream, UNACKNOWLEDGED);
        match &self.tls {
            None => self.http(stream).await,
            Some(config) => {
                if let Some(stream) = self.handshake(config, stream).await {
                    self.http(stream).await;
                }
            }
        }
    }

    /// The TLS handshake, which has the time of a request's head.
    async fn handshake(
        &self,
        config: &Arc<ServerConfig>,
        stream: TcpStream,
    ) -> Option<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(Arc::clone(config));
        let mut handshake = pin!(timeout(self.service.limits.head, acceptor.accept(stream)));
        let (connection, waker) = (&self.connection, self.connection.waker());
        let done = poll_fn(|cx| {
            connection.poll(cx, &waker, |cx| match handshake.as_mut().poll(cx) {
                Poll::Ready(done) => Poll::Ready(Some(done)),
                // Nothing is under way yet.
                Poll::Pending if connection.told().is_some() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            })
        });
        let client = self.client;
        match done.await? {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => tracing::debug!(%client, %error, "a TLS handshake failed"),
            Err(_) => tracing::debug!(%client, "a TLS handshake did not end in time"),
        }
        self.service.metrics.tls_handshakes_failed.inc();
        None
    }

    /// HTTP to the connection's end.
    async fn http(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let (service, connection, client) = (&self.service, &self.connection, self.client);
        let limit = service.limits.head;
        let head = HeadTimer::new();
        let http = http1::Builder::new()
            .timer(head.clone())
            .header_read_timeout(limit)
            .max_buf_size(MAX_HEAD)
            // Copying an answer behind its head costs less than handing both to the system apart.
            .writev(false)
            // A client that has sent all it wants to, and says so, still gets its answer.
            .half_close(true)
            .serve_connection(
                TokioIo::new(stream),
                service_fn(|request| {
                    head.head_is_here();
                    route::respond(service, connection, client, request)
                }),
            );
        let mut http = pin!(http);
        let mut alarm = pin!(sleep(limit));
        let mut is_set = false;
        let waker = connection.waker();
        let mut step = |cx: &mut Context<'_>| {
            if let Poll::Ready(ended) = http.as_mut().poll(cx) {
                return Poll::Ready(End::Http(ended));
            }
            match connection.told() {
                Some(Told::Leave) => return Poll::Ready(End::Evicted),
                Some(Told::Finish) => {
                    http.as_mut().graceful_shutdown();
                    // What it has to do for that is done now, or wakes this task.
                    if let Poll::Ready(ended) = http.as_mut().poll(cx) {
                        return Poll::Ready(End::Http(ended));
                    }
                }
                None => {}
            }
            // The waker is always the same, so an alarm that is set need not be told of it again.
            while !is_set || alarm.is_elapsed() {
                is_set = true;
                // However much was done in this turn: whom the runtime sends away has set nothing.
                if pin!(unconstrained(alarm.as_mut())).poll(cx).is_pending() {
                    break;
                }
                is_set = false;
                let now = Instant::now();
                match head.due() {
                    Some(due) if due <= now.into_std() => return Poll::Ready(End::Late),
                    Some(due) => alarm.as_mut().reset(due.into()),
                    // The next head is waited for from now on at the earliest.
                    None => alarm.as_mut().reset(now + limit),
                }
            }
            Poll::Pending
        };
        let end = poll_fn(|cx| connection.poll(cx, &waker, &mut step));
        match end.await {
            End::Http(Ok(())) | End::Evicted => {}
            End::Http(Err(error)) => tracing::debug!(%client, %error, "a connection broke"),
            End::Late => tracing::debug!(%client, "a request's head did not come in time"),
        }
    }
}

/// The most octets of a request's head: a request of the greatest length in the path, and header fields.
const MAX_HEAD: usize = 24 * 1_024;

/// How long sent octets may stay unacknowledged, in milliseconds: a client that takes nothing is cut.
const UNACKNOWLEDGED: u32 = 15_000;

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use tokio::io::{DuplexStream, ReadBuf, duplex};
    use tokio::task::coop::consume_budget;

    use super::super::connections::{Admission, Connections};
    use super::super::{AccessPolicy, HttpLimits};
    use super::*;
    use crate::fixture::Script;
    use crate::metrics::Metrics;
    use crate::responder::Responder;
    use crate::signers::Signers;
    use crate::translate::Policy;

    /// Takes all that its task may do in one turn when it is read for the first time.
    struct Greedy {
        stream: DuplexStream,
        has_taken: bool,
    }

    impl AsyncRead for Greedy {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if !self.has_taken {
                self.has_taken = true;
                while pin!(consume_budget()).poll(cx).is_ready() {}
            }
            pin!(&mut self.stream).poll_read(cx, buffer)
        }
    }

    impl AsyncWrite for Greedy {
        fn poll_write(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut Context<'_>,
            octets: &[u8],
        ) -> Poll<io::Result<usize>> {
            pin!(&mut self.stream).poll_write(cx, octets)
        }

        fn poll_flush(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<io::Result<()>> {
            pin!(&mut self.stream).poll_flush(cx)
        }

        fn poll_shutdown(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<io::Result<()>> {
            pin!(&mut self.stream).poll_shutdown(cx)
        }
    }

    #[tokio::test]
    async fn the_alarm_is_set_however_much_was_done_in_that_turn() {
        let limits = HttpLimits {
            head: Duration::from_millis(200),
            ..HttpLimits::default()
        };
        let source = Arc::new(Arc::new(Script::default()));
        let responder = Responder::new(Policy::default(), Signers::new(), source);
        let metrics = Arc::new(Metrics::new());
        let off = AccessPolicy::Off;
        let service = Service::new("/", limits, off, Arc::new(responder), metrics);
        let table = Connections::new(1);
        let now = std::time::Instant::now();
        let Admission::Admitted { connection, .. } = table.admit(table.listener(), now) else {
            panic!("refused");
        };
        let serving = Serving {
            service: Arc::new(service),
            connection,
            client: ([127, 0, 0, 1], 1).into(),
            tls: None,
        };
        let (stream, _silent) = duplex(64);
        let stream = Greedy {
            stream,
            has_taken: false,
        };
        let ended = timeout(Duration::from_secs(10), serving.http(stream)).await;
        assert!(ended.is_ok(), "a silent client was never left");
    }
}
