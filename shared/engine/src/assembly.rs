//! Puts ranges that come at the same time back in order. Pure.

use std::collections::{BTreeMap, VecDeque};

/// The order of an object's pieces. A piece of the first unfinished range may go on at once; others wait here.
#[derive(Debug)]
pub(crate) struct Assembly<T> {
    frontier: u64,
    waiting: BTreeMap<u64, Waiting<T>>,
}

#[derive(Debug)]
struct Waiting<T> {
    pieces: VecDeque<T>,
    complete: bool,
}

impl<T> Assembly<T> {
    /// An object of which nothing has come.
    pub(crate) fn new() -> Self {
        Self { frontier: 0, waiting: BTreeMap::new() }
    }

    /// The first range that is not complete.
    pub(crate) fn frontier(&self) -> u64 {
        self.frontier
    }

    /// A piece of a range: given back when it is its turn.
    pub(crate) fn piece(&mut self, index: u64, piece: T) -> Option<T> {
        assert!(index >= self.frontier, "a complete range has no more pieces");
        if index == self.frontier {
            return Some(piece);
        }
        self.waiting(index).pieces.push_back(piece);
        None
    }

    /// All pieces of a range have come: those whose turn it is now, in order.
    pub(crate) fn complete(&mut self, index: u64) -> VecDeque<T> {
        let mut turn = VecDeque::new();
        if index > self.frontier {
            self.waiting(index).complete = true;
            return turn;
        }
        self.frontier += 1;
        while let Some(next) = self.waiting.remove(&self.frontier) {
            turn.extend(next.pieces);
            if !next.complete {
                break;
            }
            self.frontier += 1;
        }
        turn
    }

    fn waiting(&mut self, index: u64) -> &mut Waiting<T> {
        self.waiting.entry(index).or_insert_with(|| Waiting { pieces: VecDeque::new(), complete: false })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_come_out_in_order_however_ranges_are_interleaved(
            pieces in prop::collection::vec(0usize..4, 1..8),
            order in prop::collection::vec(any::<prop::sample::Index>(), 64),
        ) {
            let mut left: Vec<VecDeque<Option<(usize, usize)>>> = pieces
                .iter()
                .enumerate()
                .map(|(range, n)| (0..*n).map(|piece| Some((range, piece))).chain([None]).collect())
                .collect();
            let mut assembly = Assembly::new();
            let mut out = Vec::new();
            let mut order = order.iter().cycle();
            while left.iter().any(|range| !range.is_empty()) {
                let open: Vec<usize> = (0..left.len()).filter(|n| !left[*n].is_empty()).collect();
                let range = *order.next().unwrap().get(&open);
                match left[range].pop_front().unwrap() {
                    Some(piece) => out.extend(assembly.piece(range as u64, piece)),
                    None => out.extend(assembly.complete(range as u64)),
                }
            }
            let expected: Vec<(usize, usize)> =
                pieces.iter().enumerate().flat_map(|(range, n)| (0..*n).map(move |piece| (range, piece))).collect();
            prop_assert_eq!(out, expected);
            prop_assert_eq!(assembly.frontier(), pieces.len() as u64);
        }
    }
}
