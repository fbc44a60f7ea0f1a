import { Buffer } from 'node:buffer'

const FNV_OFFSET = 0x81_1c_9d_c5
const FNV_PRIME = 0x01_00_01_93

/**
 * Which of `buckets` a key belongs to: FNV-1a over its UTF-8 bytes, mixed as MurmurHash 3 ends.
 * Never change it: a key that moves loses its order.
 */
export function bucketOf(key: string, buckets: number): number {
  let hash = FNV_OFFSET
  for (const byte of Buffer.from(key, 'utf8')) hash = Math.imul(hash ^ byte, FNV_PRIME)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85_eb_ca_6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2_b2_ae_35)
  return ((hash ^ (hash >>> 16)) >>> 0) % buckets
}
