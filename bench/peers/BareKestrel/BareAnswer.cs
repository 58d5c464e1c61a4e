namespace BareKestrel;

/// <summary>The floor of the inference benchmarks: reads the request and answers the same bytes every time.</summary>
internal static class BareAnswer
{
    /// <summary>Answers.</summary>
    /// <param name="context">The request.</param>
    /// <param name="answer">The body, or a framed message.</param>
    /// <param name="isGrpc">Whether to answer as gRPC does.</param>
    public static async Task WriteAsync(Microsoft.AspNetCore.Http.HttpContext context, byte[] answer, bool isGrpc)
    {
        while (true)
        {
            var read = await context.Request.BodyReader.ReadAsync();
            context.Request.BodyReader.AdvanceTo(read.Buffer.End);
            if (read.IsCompleted)
            {
                break;
            }
        }

        if (isGrpc)
        {
            context.Response.ContentType = "application/grpc";
            Microsoft.AspNetCore.Http.ResponseTrailerExtensions.AppendTrailer(context.Response, "grpc-status", "0");
        }
        else
        {
            context.Response.ContentType = "application/json";
            context.Response.ContentLength = answer.Length;
        }

        await context.Response.BodyWriter.WriteAsync(answer);
    }
}
