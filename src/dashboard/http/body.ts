import { problem } from './problem.ts'

/** A thousand keys are far less. */
const MOST_BYTES = 1024 * 1024

/** The body of a request as text. Reads no more than is taken; throws a problem beyond that. */
export async function bodyText(request: Request): Promise<string> {
  const tooLarge = (): Error => problem(413, 'too-large', 'The body is too large.')
  if (Number(request.headers.get('content-length') ?? 0) > MOST_BYTES) throw tooLarge()
  const reader = request.body?.getReader()
  if (reader === undefined) return ''
  const parts: Uint8Array[] = []
  let bytes = 0
  for (;;) {
    const { done, value } = await next(reader)
    if (done) return Buffer.concat(parts).toString()
    bytes += value.byteLength
    // The rest is left where it is: to take it back would end the connection without an answer.
    if (bytes > MOST_BYTES) throw tooLarge()
    parts.push(value)
  }
}

async function next(
  reader: ReadableStreamDefaultReader<Uint8Array>,
): ReturnType<ReadableStreamDefaultReader<Uint8Array>['read']> {
  try {
    return await reader.read()
  } catch {
    throw problem(400, 'bad-request', 'The body has broken off.')
  }
}
