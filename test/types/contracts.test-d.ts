// Checked by tsc alone (tsconfig.check.json): each line under a @ts-expect-error must be an error.
import { z } from 'zod'
import { claimCheck, cloudEvents, encryption } from '../../src/contracts/index.ts'
import { type EventType, Mersal, command, event } from '../../src/index.ts'
import { memoryTransport } from '../../src/memory.ts'

const schema = z.object({ first: z.string() })
const Joined = event('joined', schema, {
  version: 2,
  upcast: { 1: (old: string) => ({ first: old }) },
})
export const joined: EventType<{ first: string }> = Joined
command<{ n: number }>('x', undefined, { version: 2, upcast: { 1: (old: { m: number }) => old.m } })
// @ts-expect-error the shape of an older body is to be said
event('x', schema, { version: 2, upcast: { 1: (old) => old.name } })
// @ts-expect-error no such option
event('x', schema, { versions: 2 })
// @ts-expect-error a step is a function
event('x', schema, { version: 2, upcast: { 1: { first: '' } } })
// @ts-expect-error the name of a serializer is a text
command('x', undefined, { contentType: 7 })

const codecs = [encryption({ keys: { k: new Uint8Array(32) }, current: 'k' })]
const wireFormat = cloudEvents({ source: '/x' })
const base = { name: 'x', transport: memoryTransport() }
export const app = new Mersal({ ...base, codecs, wireFormat, typeOf: () => 'x' })
// @ts-expect-error a codec turns bytes back as well
export const half = new Mersal({ ...base, codecs: [{ name: 'x', encode: () => undefined }] })
// @ts-expect-error a key is bytes, not their text
encryption({ keys: { k: 'secret' }, current: 'k' })
// @ts-expect-error where large bodies go
claimCheck({ aboveBytes: 1 })
