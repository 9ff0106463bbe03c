/**
 * Numbers of the Linux ABI that the data path uses. Identical on every 64-bit little-endian architecture that
 * Node supports (x86-64, arm64, riscv64: asm-generic); the one exception, struct epoll_event, is marked.
 */

// bits/socket.h, asm-generic/socket.h
export const AF_INET = 2
export const AF_INET6 = 10
export const SOCK_STREAM = 1
export const SOCK_DGRAM = 2
export const SOCK_NONBLOCK = 0o4000
export const SOCK_CLOEXEC = 0o2000000
export const SOL_SOCKET = 1
export const SO_REUSEADDR = 2
export const SO_ERROR = 4
export const SO_RCVBUF = 8
export const SO_KEEPALIVE = 9
export const SO_OOBINLINE = 10
export const SO_LINGER = 13
export const SO_RCVBUFFORCE = 33
export const MSG_DONTWAIT = 0x40
export const MSG_NOSIGNAL = 0x4000
export const SHUT_WR = 1

// netinet/in.h, linux/in.h, linux/in6.h
export const IPPROTO_IP = 0
export const IPPROTO_TCP = 6
export const IPPROTO_UDP = 17
export const IPPROTO_IPV6 = 41
export const IP_PKTINFO = 8
export const IPV6_V6ONLY = 26
export const IPV6_RECVPKTINFO = 49
export const IPV6_PKTINFO = 50

// netinet/tcp.h, netinet/udp.h
export const TCP_NODELAY = 1
export const UDP_SEGMENT = 103
export const UDP_GRO = 104

// fcntl.h
export const O_RDONLY = 0
export const O_NONBLOCK = 0o4000
export const O_CLOEXEC = 0o2000000
export const F_DUPFD_CLOEXEC = 1030
export const F_SETPIPE_SZ = 1031
export const SPLICE_F_MOVE = 1
export const SPLICE_F_NONBLOCK = 2

// sys/epoll.h. The struct is packed on x86-64 only: u32 events at 0, u64 data at 4 (elsewhere at 8).
export const EPOLL_EVENT_SIZE = process.arch === 'x64' ? 12 : 16
export const EPOLL_DATA_OFFSET = process.arch === 'x64' ? 4 : 8
export const EPOLL_CLOEXEC = 0o2000000
export const EPOLL_CTL_ADD = 1
export const EPOLL_CTL_DEL = 2
export const EPOLLIN = 0x1
export const EPOLLPRI = 0x2
export const EPOLLOUT = 0x4
export const EPOLLERR = 0x8
export const EPOLLHUP = 0x10
export const EPOLLRDHUP = 0x2000
export const EPOLLEXCLUSIVE = 0x1000_0000
export const EPOLLET = 0x8000_0000

// sys/eventfd.h, signal.h, linux/sched.h, sys/resource.h
export const EFD_NONBLOCK = 0o4000
export const EFD_CLOEXEC = 0o2000000
export const SIG_BLOCK = 0
/** sigset_t, as glibc has it; musl's and the kernel's are not larger. */
export const SIGSET_SIZE = 128
export const CLONE_FILES = 0x400
/** The same number on every machine, as all system calls since 424 have. */
export const SYS_PIDFD_OPEN = 434
export const SYS_PIDFD_GETFD = 438
export const CLONE_NEWNET = 0x4000_0000
export const RLIMIT_NOFILE = 7

// sys/wait.h
export const WNOHANG = 1
