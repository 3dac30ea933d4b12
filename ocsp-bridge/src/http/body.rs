//! The body of a request, within its bounds.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, Incoming};
use tokio::time::timeout;

use super::connections::Connection;
use super::respond::HttpError;

/// A body that is being read; without a copy where it comes in one piece, as most do.
pub(super) struct Reading<'a> {
    body: &'a mut Incoming,
    limit: usize,
    first: Bytes,
    more: Vec<u8>,
}

impl<'a> Reading<'a> {
    /// Begins, if the body does not claim to be longer than `limit` octets.
    pub(super) fn new(body: &'a mut Incoming, limit: usize) -> Result<Self, HttpError> {
        if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
            return Err(HttpError::TooLarge);
        }
        Ok(Self {
            body,
            limit,
            first: Bytes::new(),
            more: Vec::new(),
        })
    }

    /// The whole body, if it came in one piece and together with its head.
    pub(super) async fn at_once(
        &mut self,
        connection: &Connection,
    ) -> Option<Result<Bytes, HttpError>> {
        poll_fn(|cx| Poll::Ready(self.poll_at_once(cx, connection))).await
    }

    fn poll_at_once(
        &mut self,
        cx: &mut Context<'_>,
        connection: &Connection,
    ) -> Option<Result<Bytes, HttpError>> {
        let read = connection.quietly(|| Pin::new(&mut *self.body).poll_frame(cx));
        let mut refused = None;
        if let Poll::Ready(frame) = read {
            let Some(frame) = frame else {
                return Some(Ok(Bytes::new()));
            };
            refused = self.take(frame).err().map(Err);
            if refused.is_none() && self.body.is_end_stream() {
                return Some(Ok(std::mem::take(&mut self.first)));
            }
        }
        // There is more, and whoever reads it, or ends the connection since nobody wants it, was not woken.
        cx.waker().wake_by_ref();
        refused
    }

    /// The rest of it, in this time.
    pub(super) async fn rest(mut self, time: Duration) -> Result<Bytes, HttpError> {
        let read = async {
            while !self.body.is_end_stream()
                && let Some(frame) = self.body.frame().await
            {
                self.take(frame)?;
            }
            Ok(if self.more.is_empty() {
                self.first
            } else {
                self.more.into()
            })
        };
        match timeout(time, read).await {
            Ok(read) => read,
            Err(_) => Err(HttpError::BodyTooSlow),
        }
    }

    fn take(&mut self, frame: hyper::Result<Frame<Bytes>>) -> Result<(), HttpError> {
        // What is not data are trailers, which say nothing here.
        let Ok(piece) = frame.map_err(|_| HttpError::BodyBroken)?.into_data() else {
            return Ok(());
        };
        let read = self.first.len().max(self.more.len());
        if piece.len() > self.limit.saturating_sub(read) {
            return Err(HttpError::TooLarge);
        }
        if read == 0 {
            self.first = piece;
        } else {
            if self.more.is_empty() {
                self.more.extend_from_slice(&self.first);
            }
            self.more.extend_from_slice(&piece);
        }
        Ok(())
    }
}
