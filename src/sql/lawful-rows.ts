import { MersalError } from '../core/errors/errors.ts'
import { headerNames } from '../core/messages/message.ts'
import { checkPartitionKey, isContentType, isHeaderName } from '../core/messages/validation.ts'
import { byteLength, hasControlCharacters, isPlain, printable } from '../lib/text.ts'

/** Of an id or a name: no broker carries longer ones. */
const LONGEST_NAME_BYTES = 255
/** Of one header: as much as the API allows for all of them. */
const LONGEST_HEADER_BYTES = 48 * 1024

interface Row {
  readonly id: string
  readonly type: string
  readonly transport: string
  readonly kind: string
  readonly name: string
  readonly partition_key: string | null
}

function unlawful(column: string, text: string): MersalError {
  return new MersalError('MERSAL_INVALID_MESSAGE', `${column}: ${text}`, {
    details: { field: column },
  })
}

const sound = (text: string, most: number): boolean =>
  isPlain(text) ? text.length <= most : byteLength(text) <= most && !hasControlCharacters(text)

/**
 * What is wrong with a row that another program wrote or changed, or undefined if it can travel.
 * What Mersal itself stores always can; a transport could do nothing else with the others than
 * refuse them again and again. Names that only the API refuses, such as those with a blank, are no
 * matter of this.
 */
export function problemOf(
  row: Row,
  headers: Readonly<Record<string, string>>,
): MersalError | undefined {
  for (const column of ['id', 'type', 'transport', 'name'] as const) {
    const text = row[column]
    if (text === '' || !sound(text, LONGEST_NAME_BYTES)) {
      return unlawful(
        column,
        `must have 1 to ${LONGEST_NAME_BYTES} bytes and no control characters`,
      )
    }
  }
  if (row.kind !== 'queue' && row.kind !== 'topic')
    return unlawful('kind', "must be 'queue' or 'topic'")
  return keyProblem(row.partition_key) ?? headerProblem(headers)
}

function keyProblem(key: string | null): MersalError | undefined {
  if (key === null) return undefined
  try {
    checkPartitionKey(key)
    return undefined
  } catch (error) {
    return error as MersalError
  }
}

function headerProblem(headers: Readonly<Record<string, string>>): MersalError | undefined {
  for (const name of Object.keys(headers)) {
    const text = textProblem(name, headers[name] as string)
    if (text !== undefined) return unlawful(`headers['${printable(name, 60)}']`, text)
  }
  return undefined
}

function textProblem(name: string, value: string): string | undefined {
  if (!isHeaderName(name)) return 'no header has such a name'
  if (!sound(value, LONGEST_HEADER_BYTES)) return 'is too large, or has control characters'
  return name.toLowerCase() === headerNames.contentType && !isContentType(value)
    ? 'is no content type'
    : undefined
}
