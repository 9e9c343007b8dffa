//! Several arms with weights, side by side on the points of a [`Draw`].
//!
//! Knows no names of arms: they are numbered as they are listed.

use super::Draw;

/// The largest sum of weights, as for Envoy's `weighted_clusters`.
const MAX_TOTAL: u64 = u32::MAX as u64;

/// A split of the traffic: each arm has exactly its weight ÷ the sum of all weights of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Where each arm starts; never falling.
    starts: Vec<u64>,
    total: u64,
}

impl Split {
    /// A split with these weights. `None` when they are all zero or sum up to more than 2^32 - 1.
    #[must_use]
    pub fn new(weights: &[u64]) -> Option<Self> {
        let mut total = 0_u64;
        let mut starts = Vec::with_capacity(weights.len());
        for weight in weights {
            starts.push(total);
            total = total.checked_add(*weight).filter(|total| *total <= MAX_TOTAL)?;
        }
        if total == 0 {
            return None;
        }
        Some(Self { starts, total })
    }

    /// The arm that covers the point; never one of weight zero.
    #[must_use]
    pub fn pick(&self, draw: Draw) -> usize {
        let position = draw.position(self.total);
        // Of arms that start at the same place only the last has a weight.
        self.starts.iter().take_while(|start| **start <= position).count().saturating_sub(1)
    }

    /// The position of the first point of an arm, out of [`Split::total`]; the total for an arm that is not there.
    #[must_use]
    pub fn start(&self, arm: usize) -> u64 {
        self.starts.get(arm).copied().unwrap_or(self.total)
    }

    /// The weight of an arm; 0 for one that is not there.
    #[must_use]
    pub fn weight(&self, arm: usize) -> u64 {
        self.start(arm.saturating_add(1)).saturating_sub(self.start(arm))
    }

    /// The sum of the weights.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }
}
