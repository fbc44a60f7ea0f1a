import { checkOptions, checkShape, invalidOption } from '../core/options.ts'
import type { BodyStore } from './bodies.ts'

interface S3Object {
  readonly Bucket: string
  readonly Key: string
}

interface S3Call {
  readonly abortSignal?: AbortSignal
}

/** The part of the class `S3` of `@aws-sdk/client-s3` that is used. */
export interface S3Client {
  putObject(input: S3Object & { readonly Body: Uint8Array }, call?: S3Call): Promise<unknown>
  getObject(
    input: S3Object,
    call?: S3Call,
  ): Promise<{ readonly Body?: { transformToByteArray(): Promise<Uint8Array> } | undefined }>
}

/** Options of `s3Bodies()`. */
export interface S3BodiesOptions {
  /** A client of S3 with `putObject` and `getObject`, such as `S3` of `@aws-sdk/client-s3`. */
  readonly client: S3Client
  /** Name of the bucket. It must exist. */
  readonly bucket: string
  /** Before each key. Default none. */
  readonly prefix?: string
}

/**
 * Keeps bodies in a bucket of S3, or of a storage that speaks like it. Give the bucket a rule that
 * removes objects some days later than `keepDays` of `claimCheck()`. Throws
 * `MERSAL_INVALID_OPTIONS`.
 */
export function s3Bodies(options: S3BodiesOptions): BodyStore {
  checkOptions('s3Bodies', options, ['client', 'bucket', 'prefix'])
  const { client, bucket, prefix = '' } = options
  checkShape('s3Bodies.client', client, ['putObject', 'getObject'])
  if (typeof bucket !== 'string' || bucket === '')
    throw invalidOption('s3Bodies.bucket', 'expected the name of a bucket')
  if (typeof prefix !== 'string') throw invalidOption('s3Bodies.prefix', 'expected text')
  const place = (key: string): S3Object => ({ Bucket: bucket, Key: `${prefix}${key}` })
  return {
    async put(key, body, { signal }) {
      await client.putObject({ ...place(key), Body: body }, { abortSignal: signal })
    },
    async get(key, { signal }) {
      try {
        const { Body } = await client.getObject(place(key), { abortSignal: signal })
        return await Body?.transformToByteArray()
      } catch (error) {
        if ((error as { name?: unknown } | null)?.name === 'NoSuchKey') return undefined
        throw error
      }
    },
  }
}
