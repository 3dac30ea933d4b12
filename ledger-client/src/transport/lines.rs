//! Lines out of chunks, with a bound.

/// Collects octets and gives them back line by line.
#[derive(Debug)]
pub(crate) struct Lines {
    held: Vec<u8>,
    /// Where the unread part begins.
    start: usize,
    /// Up to where no line end was found yet.
    searched: usize,
    limit: usize,
}

/// A line is longer than the limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct LineTooLong;

impl Lines {
    /// Lines of at most `limit` octets, not counting the line end.
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            held: Vec::new(),
            start: 0,
            searched: 0,
            limit,
        }
    }

    /// Takes the octets of one chunk. All lines should be taken out before the next one.
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        self.held.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.held.extend_from_slice(chunk);
    }

    /// The next whole line without its end, if there is one. Empty lines are lines.
    pub(crate) fn next_line(&mut self) -> Result<Option<&[u8]>, LineTooLong> {
        let unsearched = self.held.get(self.searched..).unwrap_or_default();
        let Some(length) = unsearched.iter().position(|&octet| octet == b'\n') else {
            self.searched = self.held.len();
            return if self.searched - self.start > self.limit {
                Err(LineTooLong)
            } else {
                Ok(None)
            };
        };
        let (start, end) = (self.start, self.searched + length);
        self.start = end + 1;
        self.searched = self.start;
        if end - start > self.limit {
            return Err(LineTooLong);
        }
        let line = self.held.get(start..end).unwrap_or_default();
        Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// Whether octets of an unfinished line are held.
    pub(crate) fn is_mid_line(&self) -> bool {
        self.start < self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(lines: &mut Lines) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            out.push(line.to_vec());
        }
        out
    }

    #[test]
    fn lines_come_whole_over_chunks() {
        let mut lines = Lines::new(8);
        lines.push(b"ab");
        assert!(all(&mut lines).is_empty());
        assert!(lines.is_mid_line());
        lines.push(b"c\r\n\nde\nf");
        assert_eq!(
            all(&mut lines),
            [b"abc".to_vec(), b"".to_vec(), b"de".to_vec()]
        );
        lines.push(b"\n");
        assert_eq!(all(&mut lines), [b"f".to_vec()]);
        assert!(!lines.is_mid_line());
    }

    #[test]
    fn a_line_at_the_limit_passes_and_one_octet_more_does_not() {
        let mut lines = Lines::new(4);
        lines.push(b"abcd\n");
        assert_eq!(lines.next_line(), Ok(Some(&b"abcd"[..])));
        lines.push(b"abcde\n");
        assert_eq!(lines.next_line(), Err(LineTooLong));
        let mut endless = Lines::new(4);
        endless.push(b"abcd");
        assert_eq!(endless.next_line(), Ok(None));
        endless.push(b"e");
        assert_eq!(endless.next_line(), Err(LineTooLong));
    }

    proptest! {
        #[test]
        fn chunking_makes_no_difference(text in "[ab\n]{0,64}", cuts in proptest::collection::vec(0usize..64, 0..8)) {
            let octets = text.as_bytes();
            let mut whole = Lines::new(64);
            whole.push(octets);
            let expected = all(&mut whole);
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut pieces = Lines::new(64);
            let (mut got, mut from) = (Vec::new(), 0);
            for cut in cuts.into_iter().filter(|&cut| cut <= octets.len()).chain([octets.len()]) {
                pieces.push(&octets[from..cut]);
                got.extend(all(&mut pieces));
                from = cut;
            }
            prop_assert_eq!(got, expected);
        }
    }
}
