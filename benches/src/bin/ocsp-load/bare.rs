//! The floor of any HTTP server that is made with hyper.

use std::net::SocketAddr;

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

#[derive(Args)]
pub(super) struct Bare {
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// The length of the body.
    #[arg(long)]
    octets: usize,
    /// Read the request's body before answering.
    #[arg(long)]
    read: bool,
}

impl Bare {
    pub(super) fn run(&self) -> Result<Value, String> {
        // As `ocsp-bridge run` makes it.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("threads: {error}"))?;
        runtime.block_on(self.serve())
    }

    async fn serve(&self) -> Result<Value, String> {
        let body = Bytes::from(vec![b'x'; self.octets]);
        let listener = TcpListener::bind(self.listen)
            .await
            .map_err(|error| format!("{}: {error}", self.listen))?;
        loop {
            let (stream, _) = listener
                .accept()
                .await
                .map_err(|error| format!("accept: {error}"))?;
            let (body, read) = (body.clone(), self.read);
            tokio::spawn(async move {
                let _nodelay = stream.set_nodelay(true);
                let service = service_fn(|request: Request<Incoming>| {
                    let body = body.clone();
                    async move {
                        if read {
                            let _request = request.into_body().collect().await?;
                        }
                        let mut response = Response::new(Full::new(body));
                        let value = HeaderValue::from_static("application/ocsp-response");
                        response.headers_mut().insert(CONTENT_TYPE, value);
                        Ok::<_, hyper::Error>(response)
                    }
                });
                let connection = http1::Builder::new();
                // Clients that leave in the middle are no failure of a measurement.
                let _ended = connection
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }
}
