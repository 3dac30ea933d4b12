//! A CRL that can be served.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use ocsp::UnixTime;
use thiserror::Error;

use super::number::CrlNumber;
use crate::answer::Lifetime;

/// A signed CRL, full or delta, in pieces that it shares with those before and after it.
#[derive(Debug)]
pub struct Crl {
    number: CrlNumber,
    lifetime: Lifetime,
    entries: usize,
    length: u64,
    /// Empty once it was withdrawn.
    pieces: Mutex<Vec<Bytes>>,
}

impl Crl {
    pub(crate) fn new(
        number: CrlNumber,
        next_update: UnixTime,
        entries: usize,
        pieces: Vec<Bytes>,
    ) -> Self {
        let length = pieces.iter().map(|piece| piece.len() as u64).sum();
        // The last piece has the signature, which no other CRL has.
        let this_update = number.this_update();
        let last = pieces.last().map_or(&[][..], |piece| piece);
        Self {
            number,
            lifetime: Lifetime::new(this_update, this_update, next_update, last),
            entries,
            length,
            pieces: Mutex::new(pieces),
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(&self) -> CrlNumber {
        self.number
    }

    /// `thisUpdate`.
    #[must_use]
    pub const fn this_update(&self) -> UnixTime {
        self.number.this_update()
    }

    /// `nextUpdate`: not to be used from then on.
    #[must_use]
    pub const fn next_update(&self) -> UnixTime {
        self.lifetime.next_update
    }

    /// How many certificates are on the list when it was issued; for a delta CRL, on the full one.
    #[must_use]
    pub const fn entries(&self) -> usize {
        self.entries
    }

    /// Its length, in octets.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// What HTTP caches need to know.
    #[must_use]
    pub const fn lifetime(&self) -> &Lifetime {
        &self.lifetime
    }

    /// Its octets, as the body of a response.
    #[must_use]
    pub fn body(self: &Arc<Self>) -> CrlBody {
        CrlBody {
            crl: Arc::clone(self),
            next: 0,
            left: self.length,
        }
    }

    /// Lets go of the octets. Whoever is still fetching them, slower than CRLs run out, is cut off: a client shall not
    /// decide how many old ones stay in memory.
    pub(crate) fn withdraw(&self) {
        let pieces =
            std::mem::take(&mut *self.pieces.lock().unwrap_or_else(PoisonError::into_inner));
        drop(pieces);
    }

    fn piece(&self, at: usize) -> Option<Bytes> {
        let pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        pieces.get(at).cloned()
    }
}

/// The same octets, withdrawn or not.
impl PartialEq for Crl {
    fn eq(&self, other: &Self) -> bool {
        self.lifetime.etag == other.lifetime.etag
    }
}

impl Eq for Crl {}

/// The octets of a [`Crl`], piece by piece, none of them copied.
#[derive(Debug)]
pub struct CrlBody {
    crl: Arc<Crl>,
    next: usize,
    left: u64,
}

/// A CRL ran out while it was being sent.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("the CRL ran out while it was being sent: fetch the newer one")]
pub struct CrlWithdrawn;

impl Body for CrlBody {
    type Data = Bytes;
    type Error = CrlWithdrawn;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CrlWithdrawn>>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let Some(piece) = this.crl.piece(this.next) else {
            this.left = 0;
            return Poll::Ready(Some(Err(CrlWithdrawn)));
        };
        this.next += 1;
        this.left = this.left.saturating_sub(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use http_body_util::BodyExt as _;
    use ledger::Height;

    use super::*;

    fn crl() -> Arc<Crl> {
        let pieces = ["ab", "c", "def"].map(|text| Bytes::from_static(text.as_bytes()));
        let number = CrlNumber::new(Height(1), UnixTime(2));
        Arc::new(Crl::new(number, UnixTime(3), 1, pieces.into()))
    }

    #[test]
    fn the_body_is_the_pieces_as_they_lie_in_memory() {
        let crl = crl();
        let mut body = crl.body();
        assert_eq!(body.size_hint().exact(), Some(6));
        let frame = body.frame().now_or_never().unwrap().unwrap().unwrap();
        let piece = frame.into_data().unwrap();
        assert_eq!(piece.as_ptr(), crl.piece(0).unwrap().as_ptr());
        assert_eq!(body.size_hint().exact(), Some(4));
        let rest = body.collect().now_or_never().unwrap().unwrap();
        assert_eq!(rest.to_bytes(), "cdef");
    }

    #[test]
    fn one_that_is_withdrawn_breaks_off() {
        let crl = crl();
        let mut body = crl.body();
        body.frame().now_or_never().unwrap().unwrap().unwrap();
        crl.withdraw();
        let broken = body.frame().now_or_never().unwrap().unwrap();
        assert_eq!(broken.unwrap_err(), CrlWithdrawn);
        assert!(body.is_end_stream());
        assert!(body.frame().now_or_never().unwrap().is_none());
    }
}
