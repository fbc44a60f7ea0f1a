/** Of the name of an app, so that the name of its queue is none too long. */
const LONGEST_NAME = 150
const PROCESS = /(\.replies)\.[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/

/** The queue for the replies that come to one process of an app. `id`: a UUID. */
export function replyQueue(app: string, id: string): string {
  return `${app.slice(0, LONGEST_NAME)}.replies.${id}`
}

/**
 * The name of a destination for those who keep every name that they have met: that of a queue for
 * replies without its process, which come and go.
 */
export function lastingName(destination: string): string {
  return destination.replace(PROCESS, '$1')
}
