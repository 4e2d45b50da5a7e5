//! Which of two lists belong together, found step by step: each step pairs what the earlier ones left. Pure.

use std::collections::BTreeMap;

use pathfinding::kuhn_munkres::kuhn_munkres;
use pathfinding::matrix::Matrix;

/// What is left of either side is paired exactly up to so many pairs to choose from. The exact rule needs about the cube of a side's
/// length: 64 on each side are some milliseconds.
pub(super) const CHOICES_MAX: usize = 64 * 64;
/// No gain counts for more than this, so that sums of gains stay exact.
const GAIN_MAX: i128 = 1 << 118;

/// Two lists, and what was paired of them.
pub(super) struct Pairs<'p, T> {
    left: &'p [T],
    right: &'p [T],
    /// For each of the left its counterpart.
    pub(super) partner: Vec<Option<usize>>,
    free: Vec<bool>,
}

impl<'p, T> Pairs<'p, T> {
    pub(super) fn new(left: &'p [T], right: &'p [T]) -> Self {
        Self { left, right, partner: vec![None; left.len()], free: vec![true; right.len()] }
    }

    /// Returns what of the left is not paired, in order.
    pub(super) fn left_over(&self) -> Vec<usize> {
        (0..self.left.len()).filter(|at| self.partner[*at].is_none()).collect()
    }

    /// Returns what of the right is not paired, in order.
    pub(super) fn right_over(&self) -> Vec<usize> {
        (0..self.right.len()).filter(|at| self.free[*at]).collect()
    }

    /// Pairs what has the same identity, each once, in order.
    pub(super) fn by_identity<K: Ord>(&mut self, identity: impl Fn(&'p T) -> K) {
        let mut waiting: BTreeMap<K, Vec<usize>> = BTreeMap::new();
        for at in self.right_over().into_iter().rev() {
            waiting.entry(identity(&self.right[at])).or_default().push(at);
        }
        for at in self.left_over() {
            if let Some(to) = waiting.get_mut(&identity(&self.left[at])).and_then(Vec::pop) {
                self.pair(at, to);
            }
        }
    }

    /// Pairs what is left so that the sum of the gains is the largest; what gains nothing stays alone.
    pub(super) fn by_gain(&mut self, gain: impl Fn(&T, &T) -> i128) {
        let (left, right) = (self.left_over(), self.right_over());
        if left.is_empty() || right.is_empty() {
            return;
        }
        let gain = |at: usize, to: usize| gain(&self.left[at], &self.right[to]).min(GAIN_MAX);
        // The algorithm wants no more rows than columns.
        let is_tall = left.len() > right.len();
        let (rows, columns) = if is_tall { (&right, &left) } else { (&left, &right) };
        let gains = Matrix::from_fn(rows.len(), columns.len(), |(row, column)| {
            let (row, column) = (rows[row], columns[column]);
            if is_tall { gain(column, row) } else { gain(row, column) }
        });
        let (_, chosen) = kuhn_munkres(&gains);
        for (row, column) in chosen.into_iter().enumerate() {
            if gains[(row, column)] > 0 {
                let (row, column) = (rows[row], columns[column]);
                if is_tall { self.pair(column, row) } else { self.pair(row, column) }
            }
        }
    }

    /// Returns whether what is left is small enough for [`by_gain`](Self::by_gain).
    pub(super) fn is_small(&self) -> bool {
        self.left_over().len() * self.right_over().len() <= CHOICES_MAX
    }

    fn pair(&mut self, at: usize, to: usize) {
        self.partner[at] = Some(to);
        self.free[to] = false;
    }
}
