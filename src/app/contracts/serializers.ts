import { MersalError } from '../../core/errors/errors.ts'
import type { MessageType } from '../../core/messages/message.ts'
import { type Serializer, jsonSerializer } from '../../core/messages/serializer.ts'
import { contentTypeRule, isContentType } from '../../core/messages/validation.ts'
import { checkShape, invalidOption } from '../../core/options.ts'
import { reads } from '../send/content-type.ts'

/** What writes and reads the bodies of one app, by content type. */
export interface Serializers {
  readonly contentTypes: readonly string[]
  /**
   * Writes bodies of this type: the serializer of its content type, or the first one. Throws
   * `MERSAL_ENCODE` if there is none.
   */
  of(type: Written): Serializer
  /**
   * Reads bodies of this content type; undefined if nothing does. A body without one is taken for
   * what this app itself would write.
   */
  reader(type: Written, contentType: string | undefined): Serializer | undefined
}

/** A type, as far as it matters who writes its bodies. */
type Written = Pick<MessageType, 'name' | 'contentType'>

interface Given {
  readonly serializer?: Serializer | undefined
  readonly serializers?: readonly Serializer[] | undefined
}

/** Throws `MERSAL_INVALID_OPTIONS` on anything that could not work. */
export function serializersOf({ serializer, serializers }: Given): Serializers {
  if (serializers === undefined) return registry([checkSerializer('serializer', serializer)])
  if (serializer !== undefined)
    throw invalidOption('serializers', "give either this or 'serializer'; the first one writes")
  if (!Array.isArray(serializers) || serializers.length === 0)
    throw invalidOption('serializers', 'expected an array of at least one serializer')
  const all = serializers.map((given, index) => checkSerializer(`serializers[${index}]`, given))
  for (const [index, { contentType }] of all.entries()) {
    const first = all.findIndex((other) => other.contentType === contentType)
    if (first === index) continue
    const text = `'${contentType}' is the content type of serializers[${first}] already`
    throw invalidOption(`serializers[${index}].contentType`, text)
  }
  return registry(all)
}

function checkSerializer(field: string, given: Serializer | undefined): Serializer {
  if (given === undefined) return jsonSerializer
  checkShape(field, given, ['encode', 'decode'])
  if (!isContentType(given.contentType))
    throw invalidOption(`${field}.contentType`, `expected ${contentTypeRule}`)
  return given
}

function registry(all: readonly Serializer[]): Serializers {
  const contentTypes = all.map(({ contentType }) => contentType)
  const find = (wanted: string): Serializer | undefined =>
    all.find(({ contentType }) => contentType === wanted) ??
    all.find(({ contentType }) => reads(contentType, wanted))
  const of = (type: Written): Serializer => {
    const own = type.contentType === undefined ? all[0] : find(type.contentType)
    if (own !== undefined) return own
    const text = `'${type.name}' is to be written as '${type.contentType}', and this app has serializers for ${quoted(contentTypes)}: add one to the option 'serializers'`
    throw new MersalError('MERSAL_ENCODE', text, { details: { type: type.name } })
  }
  return {
    contentTypes,
    of,
    reader: (type, contentType) =>
      contentType === undefined || contentType.trim() === '' ? of(type) : find(contentType),
  }
}

export function quoted(names: readonly string[]): string {
  return names.map((name) => `'${name}'`).join(', ')
}
