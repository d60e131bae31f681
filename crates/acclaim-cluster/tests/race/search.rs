//! Breadth first over all states, so that a violation comes with a shortest story.

use std::collections::{HashMap, VecDeque};

use crate::world::{Guard, Step, World};

/// What a search came to.
#[derive(Debug)]
pub struct Found {
    /// States visited.
    pub states: usize,
    /// What went wrong and the steps to it, where something did.
    pub violation: Option<(String, Vec<Step>)>,
}

/// Visits every state that can be reached, until one is wrong.
pub fn search(start: &World, without: &[Guard]) -> Found {
    walk(start, without, |_| {})
}

/// Visits every state that can be reached.
pub fn visit(start: &World, without: &[Guard], each: impl FnMut(&World)) {
    let found = walk(start, without, each);
    assert_eq!(found.violation, None);
}

fn walk(start: &World, without: &[Guard], mut each: impl FnMut(&World)) -> Found {
    let mut from: HashMap<World, Option<(World, Step)>> = HashMap::new();
    let mut queue = VecDeque::from([start.clone()]);
    from.insert(start.clone(), None);
    while let Some(world) = queue.pop_front() {
        each(&world);
        if let Err(reason) = world.check() {
            let violation = Some((reason, story(&from, &world)));
            return Found {
                states: from.len(),
                violation,
            };
        }
        for step in world.steps() {
            let mut next = world.clone();
            if next.take(step, without) && !from.contains_key(&next) {
                from.insert(next.clone(), Some((world.clone(), step)));
                queue.push_back(next);
            }
        }
    }
    Found {
        states: from.len(),
        violation: None,
    }
}

fn story(from: &HashMap<World, Option<(World, Step)>>, last: &World) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut world = last;
    while let Some(Some((before, step))) = from.get(world) {
        steps.push(*step);
        world = before;
    }
    steps.reverse();
    steps
}
