export { clusterAvailable } from '../../scripts/servers/given.ts'
export { freePort, privateCluster, type PrivateCluster } from '../../scripts/servers/postgres.ts'
