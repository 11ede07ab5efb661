// Types of the HTTP API, from its OpenAPI document: python -m tests.services.studio.typedefs
// What an answer lacks on servers without this one's extensions is optional where the studio reads it.
/** @typedef {Object} Character
 * @property {string} id
 * @property {number} created_at
 * @property {string} name
 */
/** @typedef {Object} FootageClip
 * @property {string} place
 * @property {"footage.clip"} object
 * @property {string} clip_id
 * @property {string} uri
 * @property {number | null} start_s
 * @property {number | null} end_s
 * @property {string} status
 * @property {string | null} reason
 * @property {string | null} caption
 * @property {string | null} licence
 * @property {number | null} fps
 * @property {number | null} frames
 * @property {number | null} width
 * @property {number | null} height
 * @property {Record<string, any>} scores
 * @property {boolean} preview
 */
/** @typedef {Object} FootageClipList
 * @property {"list"} object
 * @property {(FootageClip)[]} data
 * @property {boolean} has_more
 * @property {string | null} first_id
 * @property {string | null} last_id
 */
/** @typedef {Object} FootageTotals
 * @property {string} id
 * @property {"footage.totals"} object
 * @property {string} uri
 * @property {(Reason)[]} objects
 * @property {(Reason)[]} clips
 * @property {number} seconds
 * @property {boolean} has_report
 */
/** @typedef {Object} ModelCard
 * @property {string} id
 * @property {"video.model"} object
 * @property {number} created
 * @property {string} checkpoint
 * @property {("text" | "image")[]} inputs
 * @property {(string)[]} edits
 * @property {(string)[]} given
 * @property {boolean} characters
 * @property {number} fps
 * @property {number} size_multiple
 * @property {number} frame_multiple
 * @property {[number, number, number]} patch
 * @property {number} usual_tokens
 * @property {number} max_tokens
 * @property {number} max_side_tokens
 * @property {number} token_budget
 * @property {string} text_encoder
 * @property {number | null} max_prompt_tokens
 * @property {string} default_size
 * @property {number} default_num_frames
 * @property {number} default_num_inference_steps
 * @property {number} default_guidance_scale
 */
/** @typedef {Object} QueueState
 * @property {number} waiting
 * @property {number | null} wait_s
 * @property {number} token_steps_per_s
 */
/** @typedef {Object} Reason
 * @property {string} status
 * @property {string | null} reason
 * @property {number} count
 */
/** @typedef {Object} ServiceLimits
 * @property {number} max_outputs
 * @property {number} max_steps
 * @property {number} max_prompt_chars
 * @property {number} max_upload_bytes
 * @property {number} max_video_bytes
 * @property {number} max_video_s
 */
/** @typedef {Object} ServiceStatus
 * @property {string} object
 * @property {QueueState} queue
 * @property {ServiceLimits} limits
 * @property {(string)[]} scopes
 * @property {boolean} enhance_prompt
 */
/** @typedef {"queued" | "in_progress" | "completed" | "failed"} Status */
/** @typedef {Object} TrainingCheckpoint
 * @property {number} step
 * @property {(string)[]} files
 */
/** @typedef {Object} TrainingCurves
 * @property {(number)[]} step
 * @property {Record<string, any>} values
 */
/** @typedef {Object} TrainingRunDetails
 * @property {string} id
 * @property {"training.run"} object
 * @property {string} uri
 * @property {TrainingCurves} curves
 * @property {(TrainingCheckpoint)[]} checkpoints
 */
/** @typedef {Object} Video
 * @property {string} id
 * @property {"video"} object
 * @property {string} model
 * @property {Status} status
 * @property {number} progress
 * @property {number} created_at
 * @property {number | null} completed_at
 * @property {number | null} expires_at
 * @property {string | null} prompt
 * @property {string} seconds
 * @property {string} size
 * @property {string | null} remixed_from_video_id
 * @property {VideoError | null} error
 * @property {number} seed
 * @property {number} fps
 * @property {number} num_frames
 * @property {number} width
 * @property {number} height
 * @property {string} negative_prompt
 * @property {number} guidance_scale
 * @property {number} num_inference_steps
 * @property {number} priority
 * @property {string | null} revised_prompt
 * @property {boolean} truncated
 * @property {string | null} edit
 * @property {number | null} started_at
 * @property {number | null} queue_position
 * @property {number | null} predicted_end_at
 * @property {number | null} inference_time_s
 * @property {(string)[]} siblings
 * @property {(string)[]} characters
 * @property {(string)[]} sources
 * @property {VideoLinks | null} links
 */
/** @typedef {Object} VideoError
 * @property {string} code
 * @property {string} message
 */
/** @typedef {Object} VideoLinks
 * @property {string} video
 * @property {string} thumbnail
 * @property {string} spritesheet
 * @property {number} expires_at
 */
/** @typedef {Object} VideoList
 * @property {"list"} object
 * @property {(Video)[]} data
 * @property {boolean} has_more
 * @property {string | null} first_id
 * @property {string | null} last_id
 */
export {};
