/** Text of an error of the client that is safe to show, at most 500 characters. */
export type Describe = (error: unknown) => string

const MOST_CAUSES = 5

/** With its causes: `Connection to host:port failed.` alone says nothing. */
function messageOf(error: unknown, depth = 0): string {
  if (!(error instanceof Error)) return 'the client gave no reason'
  const own = ownMessageOf(error, depth)
  if (!(error.cause instanceof Error) || depth >= MOST_CAUSES) return own
  const why = messageOf(error.cause, depth + 1)
  return own.includes(why) ? own : `${own.replace(/\.$/, '')}: ${why}`
}

function ownMessageOf(error: Error, depth: number): string {
  if (error.message !== '') return error.message
  if (error instanceof AggregateError && depth < MOST_CAUSES)
    return error.errors.map((one) => messageOf(one, depth + 1)).join(', ')
  const { code } = error as { code?: unknown }
  return typeof code === 'string' ? code : error.name
}

/** `secrets` are hidden in every form in which a client may repeat them. */
export function describer(secrets: readonly string[]): Describe {
  const hidden = secrets
    .filter((secret) => secret.length > 2)
    .flatMap((secret) => [
      secret,
      encodeURIComponent(secret),
      Buffer.from(secret).toString('base64'),
      JSON.stringify(secret).slice(1, -1),
    ])
  return (error) => {
    let text = messageOf(error).replace(/\/\/[^\s/]*@/g, '//***@')
    for (const secret of hidden) text = text.replaceAll(secret, '***')
    // Texts of OpenSSL end with a new line.
    return text.replace(/\s+/g, ' ').trim().slice(0, 500)
  }
}
