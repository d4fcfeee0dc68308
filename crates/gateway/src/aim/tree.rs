//! Values by sequences of parts: the segments of a path, the labels of a name. A walk goes as deep as the tree does
//! and no deeper, however long the sequence is that it is asked for.

use super::map::Map;

/// Values at sequences of parts, and values below them.
#[derive(Debug)]
pub(super) struct Tree<T> {
    /// The first is the root, which is there.
    nodes: Vec<Node<T>>,
}

#[derive(Debug)]
struct Node<T> {
    children: Map<Box<str>, u32>,
    at: Option<T>,
    below: Option<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self {
            children: Map::default(),
            at: None,
            below: None,
        }
    }
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
        }
    }
}

impl<T: Default> Tree<T> {
    /// The value for exactly these parts.
    pub(super) fn at<'a>(&mut self, parts: impl Iterator<Item = &'a str>) -> &mut T {
        self.node(parts).at.get_or_insert_default()
    }

    /// The value for all sequences that begin with these parts and go on.
    pub(super) fn below<'a>(&mut self, parts: impl Iterator<Item = &'a str>) -> &mut T {
        self.node(parts).below.get_or_insert_default()
    }

    fn node<'a>(&mut self, parts: impl Iterator<Item = &'a str>) -> &mut Node<T> {
        let mut place = 0;
        for part in parts {
            let next = self.nodes.len() as u32;
            let child = *self.nodes[place]
                .children
                .entry(part.into())
                .or_insert(next);
            if child == next {
                self.nodes.push(Node::default());
            }
            place = child as usize;
        }
        &mut self.nodes[place]
    }
}

impl<T> Tree<T> {
    /// All values, in no order.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let nodes = self.nodes.iter_mut();
        nodes.flat_map(|node| node.at.iter_mut().chain(node.below.iter_mut()))
    }

    /// The values that are for these parts, from the shortest sequence to the longest.
    pub(super) fn visit<'a>(&self, parts: impl Iterator<Item = &'a str>, mut seen: impl FnMut(&T)) {
        let mut node = &self.nodes[0];
        for part in parts {
            if let Some(value) = &node.below {
                seen(value);
            }
            match node.children.get(part) {
                Some(child) => node = &self.nodes[*child as usize],
                None => return,
            }
        }
        if let Some(value) = &node.at {
            seen(value);
        }
    }
}
