import fc from 'fast-check'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import { hasControlCharacters } from '../../src/lib/text.ts'

/** Text with letters of all the world, quotes and braces, but nothing that no store takes. */
export const plainText = (longest: number): fc.Arbitrary<string> =>
  fc
    .oneof(
      fc.string({ unit: 'binary', maxLength: longest }),
      fc.constantFrom('', `'`, '"', '\\', '{}', '💥', 'ß', ' a '),
    )
    .filter((text) => text.isWellFormed() && !hasControlCharacters(text))

const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._:/-]{0,40}$/)
const headerName = fc.oneof(
  fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,20}$/),
  fc.constantFrom('constructor', 'content-type', 'tostring'),
)

export const bodies: fc.Arbitrary<Uint8Array> = fc.uint8Array({ maxLength: 200 })

export const messages: fc.Arbitrary<OutgoingMessage> = fc
  .record({
    id: fc.uuid({ version: 7 }),
    type: name,
    headers: fc.dictionary(headerName, plainText(40), { noNullPrototype: true, maxKeys: 8 }),
    body: bodies,
    to: fc.record({
      transport: name,
      kind: fc.constantFrom('queue' as const, 'topic' as const),
      name,
    }),
    partitionKey: fc.option(
      plainText(30).filter((key) => key !== ''),
      { nil: undefined },
    ),
  })
  .map(({ partitionKey, ...message }) =>
    partitionKey === undefined ? message : { ...message, partitionKey },
  )
