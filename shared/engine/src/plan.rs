//! Which requests read an object, and whether an answer is the one that was asked for. Pure.

use crate::source::{Again, Ask, ReadFault};

/// A stretch of an object that one request reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    /// Its place among the object's ranges.
    pub(crate) index: u64,
    /// Its first byte.
    pub(crate) offset: u64,
    /// Its bytes.
    pub(crate) length: u64,
}

/// The ranges of an object: every byte in exactly one, in order. An empty object has one empty range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ranges {
    size_bytes: u64,
    range_bytes: u64,
}

impl Ranges {
    /// The ranges of an object of this size; `range_bytes` is not 0.
    pub(crate) fn new(size_bytes: u64, range_bytes: u64) -> Self {
        Self { size_bytes, range_bytes: range_bytes.max(1) }
    }

    /// How many.
    pub(crate) fn count(self) -> u64 {
        self.size_bytes.div_ceil(self.range_bytes).max(1)
    }

    /// One of them, or `None` when there are not so many.
    pub(crate) fn get(self, index: u64) -> Option<Range> {
        let offset = index.checked_mul(self.range_bytes).filter(|_| index < self.count())?;
        Some(Range { index, offset, length: self.range_bytes.min(self.size_bytes - offset) })
    }
}

/// What to ask for when `got` bytes of a range have come.
pub(crate) fn ask(range: Range, got: u64, size_bytes: u64) -> Ask {
    match (range.offset + got, range.length - got) {
        (0, length) if length == size_bytes => Ask::Whole,
        (offset, length) => Ask::Range { offset, length },
    }
}

/// What an answer's head announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Announced {
    /// The first byte.
    pub(crate) offset: u64,
    /// How many.
    pub(crate) length: u64,
    /// The whole object's bytes.
    pub(crate) size_bytes: u64,
}

/// Why an answer is not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The object has another size than the listing says.
    WrongSize(u64),
    /// The answer is for other bytes.
    Fault(ReadFault),
}

/// Whether the answer brings exactly the bytes asked for, of an object of the size that the listing gave.
pub(crate) fn check(asked: Ask, announced: Announced, size_bytes: u64) -> Result<(), Refused> {
    if announced.size_bytes != size_bytes {
        return Err(Refused::WrongSize(announced.size_bytes));
    }
    let (offset, length) = match asked {
        Ask::Whole => (0, size_bytes),
        Ask::Range { offset, length } => (offset, length),
    };
    if (announced.offset, announced.length) == (offset, length) {
        return Ok(());
    }
    let whole = (announced.offset, announced.length) == (0, size_bytes);
    Err(Refused::Fault(if whole {
        ReadFault::new("the store ignored the range and sent the whole object", Again::Never)
    } else {
        let Announced { offset: found, length: many, .. } = announced;
        ReadFault::new(
            format!("{length} bytes from {offset} were asked for, {many} from {found} announced"),
            Again::Soon,
        )
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_byte_is_in_exactly_one_range(size_bytes in 0u64..5_000, range_bytes in 1u64..700) {
            let ranges = Ranges::new(size_bytes, range_bytes);
            let all: Vec<Range> = (0..ranges.count()).map(|n| ranges.get(n).unwrap()).collect();
            let mut end = 0;
            for range in &all {
                prop_assert_eq!(range.offset, end);
                prop_assert!(range.length > 0 || size_bytes == 0);
                prop_assert!(range.length <= range_bytes);
                end += range.length;
            }
            prop_assert_eq!(end, size_bytes);
            prop_assert_eq!(ranges.get(ranges.count()), None);
        }
    }

    #[test]
    fn the_largest_object_has_its_ranges_too() {
        let ranges = Ranges::new(u64::MAX, 1);
        assert_eq!(ranges.get(u64::MAX - 1).map(|r| r.length), Some(1));
        assert_eq!(ranges.get(u64::MAX), None);
    }

    #[test]
    fn an_answer_is_taken_only_for_the_bytes_that_were_asked_for() {
        let at = |offset, length, size_bytes| Announced { offset, length, size_bytes };
        let asked = Ask::Range { offset: 4, length: 4 };
        assert!(check(asked, at(4, 4, 10), 10).is_ok());
        assert!(check(Ask::Whole, at(0, 10, 10), 10).is_ok());
        assert!(matches!(check(asked, at(4, 4, 11), 10), Err(Refused::WrongSize(11))));
        for wrong in [at(3, 4, 10), at(4, 3, 10), at(4, 5, 10), at(0, 4, 10)] {
            assert!(matches!(check(asked, wrong, 10), Err(Refused::Fault(f)) if f.again == Again::Soon), "{wrong:?}");
        }
        assert!(matches!(check(asked, at(0, 10, 10), 10), Err(Refused::Fault(f)) if f.again == Again::Never));
    }

    #[test]
    fn what_is_still_to_come_is_asked_for_and_the_whole_as_a_whole() {
        let range = Range { index: 0, offset: 0, length: 10 };
        assert_eq!(ask(range, 0, 10), Ask::Whole);
        assert_eq!(ask(range, 3, 10), Ask::Range { offset: 3, length: 7 });
        assert_eq!(ask(range, 0, 11), Ask::Range { offset: 0, length: 10 });
        assert_eq!(ask(Range { index: 0, offset: 0, length: 0 }, 0, 0), Ask::Whole);
    }
}
