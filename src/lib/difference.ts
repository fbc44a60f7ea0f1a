export type Path = readonly string[]

/** Where two values stand in what is compared. */
interface Place {
  readonly outer: Place | undefined
  readonly name: string
  readonly depth: number
}

interface Pair {
  readonly sent: unknown
  readonly received: unknown
  readonly at: Place | undefined
}

type Fields = Readonly<Record<PropertyKey, unknown>>
type Put = (name: string, sent: unknown, received: unknown) => void

/** Below this depth there may be a circle. */
const CIRCLE_DEPTH = 64

/**
 * Path of the first difference, undefined if there is none. A property with the value undefined
 * counts as missing. Bytes are compared as a whole. Values may be deep, and may hold themselves.
 */
export function difference(sent: unknown, received: unknown): Path | undefined {
  const open: Pair[] = [{ sent, received, at: undefined }]
  const compared = new Map<object, Set<object>>()
  for (let pair = open.pop(); pair !== undefined; pair = open.pop()) {
    if (areSame(pair.sent, pair.received)) continue
    if (!isObject(pair.sent) || !isObject(pair.received)) return pathOf(pair.at)
    if (isKnown(compared, pair.sent, pair.received, pair.at)) continue
    const inner = partsOf(pair.sent, pair.received, pair.at)
    if (inner === undefined) return pathOf(pair.at)
    open.push(...inner.toReversed())
  }
  return undefined
}

const areSame = (sent: unknown, received: unknown): boolean =>
  sent === received || Object.is(sent, received)

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

/** Whether this pair is compared already, further up. */
function isKnown(
  compared: Map<object, Set<object>>,
  sent: object,
  received: object,
  at: Place | undefined,
): boolean {
  if (at === undefined || at.depth < CIRCLE_DEPTH) return false
  const others = compared.get(sent) ?? new Set()
  if (others.has(received)) return true
  compared.set(sent, others.add(received))
  return false
}

/** What is still to be compared of the two; undefined if they differ. */
function partsOf(sent: object, received: object, at: Place | undefined): Pair[] | undefined {
  const kind = kindOf(sent)
  if (kind !== kindOf(received)) return undefined
  const parts: Pair[] = []
  const depth = (at?.depth ?? 0) + 1
  const put: Put = (name, one, other) => {
    if (!areSame(one, other))
      parts.push({ sent: one, received: other, at: { outer: at, name, depth } })
  }
  switch (kind) {
    case 'Object':
      putFields(sent as Fields, received as Fields, put)
      return parts
    case 'Array':
      return putItems(sent as unknown[], received as unknown[], put) ? parts : undefined
    case 'Map':
    case 'Set':
      return putItems([...(sent as Set<unknown>)], [...(received as Set<unknown>)], put)
        ? parts
        : undefined
    case 'Date':
      return areSame((sent as Date).getTime(), (received as Date).getTime()) ? parts : undefined
    default:
      return haveSameBytes(sent, received) ? parts : undefined
  }
}

function kindOf(value: object): string {
  return Object.prototype.toString.call(value).slice('[object '.length, -1)
}

function putFields(sent: Fields, received: Fields, put: Put): void {
  for (const name of new Set([...Reflect.ownKeys(sent), ...Reflect.ownKeys(received)]))
    if (isField(sent, name) || isField(received, name))
      put(String(name), own(sent, name), own(received, name))
}

const isField = (fields: Fields, name: PropertyKey): boolean =>
  Object.prototype.propertyIsEnumerable.call(fields, name)
const own = (fields: Fields, name: PropertyKey): unknown =>
  isField(fields, name) ? fields[name] : undefined

/** False if they differ in what has no place of its own: in their length, or in further fields. */
function putItems(sent: readonly unknown[], received: readonly unknown[], put: Put): boolean {
  if (Object.keys(sent).length > sent.length) return false
  const most = Math.max(sent.length, received.length)
  let alike = true
  for (let index = 0; index < most; index++) {
    if (index >= received.length || index >= sent.length)
      alike &&= !areSame(sent[index], received[index])
    put(String(index), sent[index], received[index])
  }
  return alike
}

function haveSameBytes(sent: object, received: object): boolean {
  const [one, other] = [bytesOf(sent), bytesOf(received)]
  return one !== undefined && other !== undefined && one.equals(other)
}

function bytesOf(value: object): Buffer | undefined {
  if (ArrayBuffer.isView(value))
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  return value instanceof ArrayBuffer ? Buffer.from(value) : undefined
}

function pathOf(at: Place | undefined): Path {
  const path: string[] = []
  for (let place = at; place !== undefined; place = place.outer) path.push(place.name)
  return path.toReversed()
}
