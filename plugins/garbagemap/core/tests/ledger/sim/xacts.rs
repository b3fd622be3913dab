//! How transactions go on and end.

use walker_wal::{Major, RmgrId};

use super::server::{Frame, Server, Xact};

impl Server {
    pub fn savepoint(&mut self) {
        let session = self.any_session();
        if self.sessions[session].len() < 4 {
            self.xid(session);
            let frame = Frame {
                xid: self.new_xid(),
                children: Vec::new(),
            };
            self.sessions[session].push(frame);
        }
    }

    fn release(&mut self, session: usize) {
        if let Some(frame) = self.sessions[session].pop() {
            let parent = self.sessions[session].last_mut().unwrap();
            parent.children.push(frame.xid);
            parent.children.extend(frame.children);
        }
    }

    pub fn release_savepoint(&mut self) {
        let session = self.any_session();
        if self.sessions[session].len() > 1 {
            self.release(session);
        }
    }

    pub fn rollback_to(&mut self) {
        let session = self.any_session();
        if self.sessions[session].len() > 1 {
            let frame = self.sessions[session].pop().unwrap();
            self.finish(&frame, false, false, &[]);
        }
    }

    pub fn end(&mut self, session: usize, commit: bool) {
        while commit && self.sessions[session].len() > 1 {
            self.release(session);
        }
        while let Some(frame) = self.sessions[session].pop() {
            self.finish(&frame, commit, false, &[]);
            // A commit that waits for a standby.
            if self.random(3) == 0 {
                self.lingering
                    .extend(frame.children.iter().chain([&frame.xid]));
            }
        }
    }

    pub fn end_any(&mut self, commit: bool) {
        let session = self.any_session();
        self.end(session, commit);
    }

    pub fn prepare(&mut self) {
        let session = self.any_session();
        while self.sessions[session].len() > 1 {
            self.release(session);
        }
        self.prepared.extend(self.sessions[session].pop());
    }

    pub fn end_prepared(&mut self) {
        if !self.prepared.is_empty() {
            let n = self.random(self.prepared.len() as u32);
            let frame = self.prepared.swap_remove(n as usize);
            let commit = self.random(2) == 0;
            self.finish(&frame, commit, true, &[]);
        }
    }

    /// Waiting transactions leave the list of running ones.
    pub fn stop_lingering(&mut self) {
        self.lingering.clear();
    }

    pub fn crash(&mut self) {
        let prepared = self
            .prepared
            .iter()
            .flat_map(|f| f.children.iter().chain([&f.xid]));
        let prepared: Vec<u32> = prepared.copied().collect();
        for (xid, status) in &mut self.clog {
            if *status == Xact::Running && !prepared.contains(xid) {
                *status = Xact::Aborted;
            }
        }
        self.lingering.clear();
        self.sessions.iter_mut().for_each(Vec::clear);
        let new = self.major >= Major::V17;
        if self.random(2) == 0 {
            let mut checkpoint = vec![0; 88];
            checkpoint[20] = u8::from(new);
            self.write(RmgrId::XLOG, 0x00, 0, &checkpoint, &[]);
        } else {
            let mut end = vec![0; if new { 24 } else { 16 }];
            if new {
                end[16] = 1;
            }
            self.write(RmgrId::XLOG, 0x90, 0, &end, &[]);
        }
    }

    pub fn running_xacts(&mut self) {
        let oldest = self.oldest_running();
        let mut main = vec![0; 12];
        for xid in [self.next_xid, oldest, self.next_xid.wrapping_sub(1)] {
            main.extend(xid.to_le_bytes());
        }
        self.write(RmgrId::STANDBY, 0x10, 0, &main, &[]);
    }
}
