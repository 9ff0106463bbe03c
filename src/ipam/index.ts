/** Address pools: choosing one for a network, and handing out its addresses. Pure; the caller keeps what is taken. */
export { allocate, gatewayOf, macFromIpv4 } from './allocate.ts'
export { choosePool, choosePool6 } from './pool.ts'
