use super::*;

/// Groups that were loaded are asked as those that grew.
#[test]
fn the_index_knows_groups_that_were_put_there() {
    let (mut groups, mut mem) = (Groups::default(), Mem::default());
    mem.grew(groups.own_bytes());
    let n = 2 * MANY_GROUPS as u16;
    for pos in 0..n {
        let (mut group, mut own) = (Group::new(100 + u32::from(pos)), Mem::default());
        group.sets.insert(DELETED, pos, &mut own).unwrap();
        groups.put(group, &mut mem).unwrap();
    }
    assert!(groups.index.is_kept());
    let one = |off| {
        let mut one = Offsets::default();
        one.insert(off);
        one
    };
    groups
        .add_all(1, (one(1), one(2)), (100, 0), &mut mem)
        .unwrap();
    for off in [1, 2] {
        let pos = position(1, off);
        assert!(groups.index.may_have(pos));
        groups.forget(pos, &mut mem);
    }
    for pos in 0..n {
        groups.forget(pos, &mut mem);
        let left: u16 = groups.iter().map(|group| group.sets.len(DELETED)).sum();
        assert_eq!(left, n - pos - 1);
    }
    for xid in (100..).take(n.into()) {
        assert_eq!(mem.used(), groups.heap_bytes());
        let group = groups.take(xid, |_, _| (), &mut mem).unwrap();
        mem.shrank(group.sets.heap_bytes());
    }
    assert!(groups.len() == 0 && (0..4).all(|b| !groups.index.may_have_in(b)));
}

/// Who is at a position with another goes, and the other is still found there.
#[test]
fn two_at_a_position() {
    let (mut groups, mut mem) = (Groups::default(), Mem::default());
    mem.grew(groups.own_bytes());
    let pos = position(3, 7);
    for xid in [100, 101] {
        let change = Change::new(xid, None, Some(pos), false);
        assert!(groups.add(change, &mut mem).unwrap());
    }
    let mut own = Mem::default();
    let copy = groups.try_clone(&mut own).unwrap();
    assert_eq!(
        (mem.used(), own.used()),
        (groups.heap_bytes(), copy.heap_bytes())
    );
    for mut groups in [groups, copy] {
        let mut mem = Mem::of(groups.heap_bytes());
        assert!(groups.take(100, |_, _| (), &mut mem).is_none());
        assert!(groups.deletes(pos) && !groups.deletes(pos + 1));
        groups.forget_deletion(pos, &mut mem);
        assert!(!groups.deletes(pos));
        groups.forget(pos, &mut mem);
        assert_eq!(groups.offsets(3), Offsets::default());
        assert_eq!(mem.used(), groups.heap_bytes());
    }
}
