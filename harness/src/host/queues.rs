//! Shared queues (`SHR-10` to `SHR-13`). Knows nothing of threads: the last root that registered a queue is told of what comes in.

use std::collections::VecDeque;

/// All queues, by token.
#[derive(Debug, Default)]
pub(crate) struct Queues(Vec<Queue>);

#[derive(Debug)]
struct Queue {
    vm_id: String,
    name: Vec<u8>,
    root: usize,
    items: VecDeque<Vec<u8>>,
}

impl Queues {
    /// Registers a queue for a root; gives its token, from 1 on. What is in it stays.
    pub(crate) fn register(&mut self, vm_id: &str, name: &[u8], root: usize) -> u32 {
        let known = self.resolve(vm_id, name);
        if let Some(queue) = known.and_then(|token| self.get(token)) {
            queue.root = root;
        } else {
            let name = name.to_vec();
            self.0.push(Queue { vm_id: vm_id.to_owned(), name, root, items: VecDeque::new() });
        }
        known.unwrap_or_else(|| u32::try_from(self.0.len()).unwrap_or(u32::MAX))
    }

    /// The token of a queue.
    pub(crate) fn resolve(&self, vm_id: &str, name: &[u8]) -> Option<u32> {
        let place = self.0.iter().position(|queue| queue.vm_id == vm_id && queue.name == name)?;
        u32::try_from(place + 1).ok()
    }

    fn get(&mut self, token: u32) -> Option<&mut Queue> {
        self.0.get_mut((token as usize).checked_sub(1)?)
    }

    /// The root that is told of what comes in.
    #[cfg(test)]
    pub(crate) fn recipient(&mut self, token: u32) -> Option<usize> {
        self.get(token).map(|queue| queue.root)
    }

    /// Adds an item; gives the root that is to be told, or nothing when there is no such queue.
    pub(crate) fn enqueue(&mut self, token: u32, item: Vec<u8>) -> Option<usize> {
        let queue = self.get(token)?;
        queue.items.push_back(item);
        Some(queue.root)
    }

    /// Takes an item: the queue if there is one, and the item if it has one.
    pub(crate) fn dequeue(&mut self, token: u32) -> Option<Option<Vec<u8>>> {
        Some(self.get(token)?.items.pop_front())
    }
}
