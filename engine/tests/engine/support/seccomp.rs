//! A system-call filter like those of containers: one call fails with an error.

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER,
    SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, c_long, sock_filter, sock_fprog,
};

/// Makes the system call of number `call` fail with `errno` on this thread and the threads it starts, for good.
pub fn forbid(call: c_long, errno: i32) {
    let instruction = |code: u32, k: u32, jt, jf| sock_filter { code: code as u16, jt, jf, k };
    let mut filter = [
        // The first word of a filter's data is the number of the call.
        instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, 0),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, call as u32, 0, 1),
        instruction(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | errno as u32, 0, 0),
        instruction(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    let program: *const sock_fprog = &program;
    let (none, one): (c_long, c_long) = (0, 1);
    // SAFETY: changes a flag of this thread; takes no pointers.
    let outcome = unsafe { libc::prctl(PR_SET_NO_NEW_PRIVS, one, none, none, none) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the kernel copies the program during the call; program and instructions live until after it, and the
    // length is that of the array.
    let outcome = unsafe { libc::prctl(PR_SET_SECCOMP, c_long::from(SECCOMP_MODE_FILTER), program) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
}
